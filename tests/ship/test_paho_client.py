"""What paho does not need is not loaded, and loaded when it is needed after all."""

from __future__ import annotations

import subprocess
import sys

LEFT_OUT = ("email", "hashlib", "http", "logging", "urllib.parse", "urllib.request", "uuid")


def told_by(code: str) -> str:
    code = f"from edgemon.ship.paho_client import client; import sys\n{code}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_what_it_does_not_need_is_not_loaded() -> None:
    assert told_by(f"print(set({LEFT_OUT}) & set(sys.modules))") == "set()"


def test_what_is_needed_after_all_is_loaded_then() -> None:
    code = """
import os, types
from paho.mqtt.enums import CallbackAPIVersion
os.environ["mqtt_proxy"] = "http://proxy.example:8080"
one = client.Client(CallbackAPIVersion.VERSION2, protocol=client.MQTTv5)
one.enable_logger()
client.socks = types.SimpleNamespace(HTTP=3, SOCKS4=1, SOCKS5=2)
one._host = "broker.example"
print(one._get_proxy()["proxy_addr"], client.uuid.uuid4().version, client.hashlib.sha1(b"").digest_size)
"""
    assert told_by(code) == "proxy.example 4 20"


def test_who_else_imports_one_of_them_gets_the_real_one() -> None:
    code = """
import logging, urllib.parse, urllib.request, uuid
print(logging.getLogger("x").name, urllib.parse.quote("a b"), callable(urllib.request.urlopen), logging.INFO)
"""
    assert told_by(code) == "x a%20b True 20"
