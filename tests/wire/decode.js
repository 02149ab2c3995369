// A decoder of the batch format from its specification alone (edgemon/wire/__init__.py), with no dependency.
//
//     zstd -dc batch.zst | node decode.js
//
// prints the batch as JSON. Integers are BigInt here and plain digits there; what JSON has no number for is the string
// "NaN", "Infinity", "-Infinity" or "-0"; bytes are {"hex": "…"}.
"use strict";

// ---- msgpack -------------------------------------------------------------------------------------

function unpack(data) {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  let at = 0;
  const uint = (bytes) => {
    const value = bytes === 8 ? view.getBigUint64(at) : view[`getUint${8 * bytes}`](at);
    at += bytes;
    return value;
  };
  const int = (bytes) => {
    const value = bytes === 8 ? view.getBigInt64(at) : view[`getInt${8 * bytes}`](at);
    at += bytes;
    return value;
  };
  const bytes = (length) => {
    if (at + length > data.length) throw new Error("the body is cut short");
    at += length;
    return data.subarray(at - length, at);
  };
  const text = (length) => new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes(length));
  const array = (length) => Array.from({ length }, value);
  const map = (length) => {
    const out = new Map();
    for (let k = 0; k < length; k++) {
      const key = value();
      out.set(key, value());
    }
    return out;
  };
  function value() {
    const head = uint(1);
    if (head < 0x80) return BigInt(head);
    if (head < 0x90) return map(head & 0x0f);
    if (head < 0xa0) return array(head & 0x0f);
    if (head < 0xc0) return text(head & 0x1f);
    if (head >= 0xe0) return BigInt(head - 256);
    switch (head) {
      case 0xc0: return null;
      case 0xc2: return false;
      case 0xc3: return true;
      case 0xc4: return bytes(uint(1));
      case 0xc5: return bytes(uint(2));
      case 0xc6: return bytes(uint(4));
      case 0xca: at += 4; return view.getFloat32(at - 4);
      case 0xcb: at += 8; return view.getFloat64(at - 8);
      case 0xcc: return BigInt(uint(1));
      case 0xcd: return BigInt(uint(2));
      case 0xce: return BigInt(uint(4));
      case 0xcf: return uint(8);
      case 0xd0: return BigInt(int(1));
      case 0xd1: return BigInt(int(2));
      case 0xd2: return BigInt(int(4));
      case 0xd3: return int(8);
      case 0xd9: return text(uint(1));
      case 0xda: return text(uint(2));
      case 0xdb: return text(uint(4));
      case 0xdc: return array(uint(2));
      case 0xdd: return array(uint(4));
      case 0xde: return map(uint(2));
      case 0xdf: return map(uint(4));
      default: throw new Error(`msgpack type 0x${head.toString(16)} has no meaning here`);
    }
  }
  const out = value();
  if (at !== data.length) throw new Error("bytes are left behind the body");
  return out;
}

// ---- integers in planes, floats as integers ------------------------------------------------------

const i64 = (x) => BigInt.asIntN(64, x);

function planes(parameters, bin, n) {
  const [order, width, shift, step, base, ...first] = parameters;
  const m = n - Number(order);
  let values = [];
  for (let k = 0; k < m; k++) {
    let residual = 0n;
    for (let j = 0; j < Number(width); j++) residual |= BigInt(bin[j * m + k]) << BigInt(8 * j);
    values.push(i64(base + (residual >> shift) * step));
  }
  for (const start of first.reverse()) {
    const sums = [start];
    for (const difference of values) sums.push(i64(sums[sums.length - 1] + difference));
    values = sums;
  }
  return values;
}

const scratch = new DataView(new ArrayBuffer(8));

function keyOf(x, item) {
  if (item === 4n) {
    scratch.setFloat32(0, x);
    const bits = scratch.getInt32(0);
    return BigInt(bits < 0 ? bits ^ 0x7fffffff : bits);
  }
  scratch.setFloat64(0, x);
  const bits = scratch.getBigInt64(0);
  return bits < 0n ? i64(bits ^ 0x7fffffffffffffffn) : bits;
}

function floatOf(key, item, map) {
  if (item === 4n) {
    let bits = Number(BigInt.asUintN(32, key));
    if (map === 1n) bits = ((bits >>> 1) | (bits << 31)) >>> 0;
    else if (bits >>> 31) bits = (bits ^ 0x7fffffff) >>> 0;
    scratch.setUint32(0, bits);
    return scratch.getFloat32(0);
  }
  let bits = BigInt.asUintN(64, key);
  if (map === 1n) {
    bits ^= 1n << 63n;
    bits = (bits >> 1n) | BigInt.asUintN(64, bits << 63n);
  } else if (key < 0n) bits ^= 0x7fffffffffffffffn;
  scratch.setBigUint64(0, bits);
  return scratch.getFloat64(0);
}

const moved = (x, units, item) => floatOf(keyOf(x, item) + units, item, 0n);

// ---- encodings: n items, bins taken from the left ------------------------------------------------

function items(enc, p, bins, n, type, m) {
  const float = type === "f8" || type === "f4";
  const narrow = (x, item) => (item === 4n ? Math.fround(x) : x);
  if (enc === "c") return Array(n).fill(p[0]).map((x) => (float ? Number(x) : x));
  if (enc === "u") {
    const table = items(p[1], p[2], bins, Number(p[0]), type === "f4" ? "f8" : type, 0);
    return planes(p[3], bins.shift(), n).map((k) => table[Number(k)]);
  }
  if (type === "i8" && enc === "i") return planes(p, bins.shift(), n);
  if ((float || type === "i8") && enc === "r") {
    const bin = bins.shift();
    const view = new DataView(bin.buffer, bin.byteOffset, bin.byteLength);
    const get = { i8: "getBigInt64", f8: "getFloat64", f4: "getFloat32" }[type];
    return Array.from({ length: n }, (_, k) => view[get](k * (type === "f4" ? 4 : 8), true));
  }
  if (float && enc === "g") return planes(p[2], bins.shift(), n).map((key) => floatOf(key, p[0], p[1]));
  if (float && enc === "d") {
    const [divisor, item, whole, units, patches] = p;
    let values = planes(whole, bins.shift(), n).map((a) => narrow(Number(a) / Number(divisor), item));
    if (units) {
      const u = planes(units, bins.shift(), n);
      values = values.map((x, k) => moved(x, u[k], item));
    }
    if (patches) {
      const [at, by] = [bins.shift(), bins.shift()].map((b) => new DataView(b.buffer, b.byteOffset, b.byteLength));
      for (let k = 0; k < Number(patches); k++) values[at.getUint32(4 * k, true)] = by.getFloat64(8 * k, true);
    }
    return values;
  }
  if (float && enc === "q" && m >= 2) {
    const [item, positions, units, inner, parameters] = p;
    const rows = n / m;
    const position = planes(positions, bins.shift(), rows);
    const u = planes(units, bins.shift(), rows);
    const rest = items(inner, parameters, bins, n - rows, type, 0);
    const out = [];
    for (let row = 0; row < rows; row++) {
      const others = Array.from({ length: m - 1 }, (_, k) => rest[k * rows + row]);
      const left = 1 - others.reduce((sum, x) => sum + x, 0);
      others.splice(Number(position[row]), 0, moved(narrow(Number.isNaN(left) ? 0 : left, item), u[row], item));
      others.forEach((x, k) => (out[k * rows + row] = x));
    }
    return out;
  }
  if (type === "str" || type === "bin") {
    if (enc === "s") {
      const lengths = planes(p, bins.shift(), n);
      const bin = bins.shift();
      let at = 0;
      return lengths.map((length) => {
        const piece = bin.subarray(at, (at += Number(length)));
        return type === "bin" ? piece : new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(piece);
      });
    }
    if (enc === "n") return planes(p[2], bins.shift(), n).map((x) => p[0] + `${x}`.padStart(Number(p[1]), "0"));
    if (enc === "x") {
      const bin = bins.shift();
      return Array.from({ length: n }, (_, row) => {
        let digit = 0;
        return p[0].replace(/\0/g, () => {
          const byte = bin[(digit >> 1) * n + row];
          return (digit++ % 2 ? byte & 15 : byte >> 4).toString(16);
        });
      });
    }
  }
  return null; // an encoding that this decoder does not know
}

function column([name, type, enc, params, indices, nulls], d, rows) {
  const vector = /^v([84i]):(\d+)$/.exec(type);
  const item = vector ? { 8: "f8", 4: "f4", i: "i8" }[vector[1]] : type;
  const m = vector ? Number(vector[2]) : 0;
  const number = (x) => (x === null || item === "str" || item === "bin" ? x : item === "i8" ? BigInt(x) : Number(x));
  if (!["i8", "f8", "f4", "str", "bin"].includes(item)) return null;
  if (enc === "a") return params.map((x) => (Array.isArray(x) ? x.map(number) : number(x)));
  const bitmap = nulls === undefined || nulls === null ? null : d[Number(nulls)];
  const isNull = (row) => bitmap !== null && ((bitmap[row >> 3] >> (row & 7)) & 1) === 1;
  let present = 0;
  for (let row = 0; row < rows; row++) present += isNull(row) ? 0 : 1;
  const own = indices.map((k) => d[Number(k)]);
  const stream = items(enc, params, own, vector ? present * m : present, item, m);
  if (stream === null) return null;
  let used = 0;
  return Array.from({ length: rows }, (_, row) => {
    if (isNull(row)) return null;
    const at = used++;
    return vector ? Array.from({ length: m }, (_, k) => stream[k * present + at]) : stream[at];
  });
}

// ---- JSON ----------------------------------------------------------------------------------------

function json(x) {
  if (typeof x === "bigint") return x.toString();
  if (typeof x === "number") {
    if (Number.isFinite(x) && !Object.is(x, -0)) return String(x);
    return Object.is(x, -0) ? '"-0"' : `"${x}"`;
  }
  if (x instanceof Uint8Array) return `{"hex":"${Buffer.from(x).toString("hex")}"}`;
  if (Array.isArray(x)) return `[${x.map(json).join(",")}]`;
  if (x instanceof Map) return `{${[...x].map(([key, value]) => `${JSON.stringify(key)}:${json(value)}`).join(",")}}`;
  return JSON.stringify(x);
}

const body = unpack(require("fs").readFileSync(0));
if (body.get("em") !== 1n || (body.get("req") || []).length) throw new Error("this batch needs a newer reader");
const [columns, skipped] = [[], []];
for (const entry of body.get("c")) {
  const values = column(entry, body.get("d"), Number(body.get("n")));
  if (values === null) skipped.push(entry[0]);
  else columns.push([entry[0], entry[1], values]);
}
const keys = ["k", "dev", "fleet", "stream", "seq", "boot", "t0", "m0", "clk", "n", "drop", "r"];
const out = new Map(keys.map((key) => [key, body.get(key)]));
console.log(json(out.set("columns", columns).set("skipped", skipped)));
