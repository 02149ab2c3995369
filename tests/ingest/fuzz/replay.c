/* Any C compiler: replays inputs and many deterministic changes of each. replay json|msgpack CHANGES FILE... */
#include "drive.h"

static uint32_t next_random(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static uint8_t *change(const uint8_t *data, size_t *size, uint32_t *random) {
    static const uint8_t LIKELY[] = "\"\\{}[],:0e.-\xc1\xdc\xde\xd9\xff\x80\n\x00u";
    size_t room = *size + 8;
    uint8_t *made = malloc(room);
    MUST(made != NULL);
    memcpy(made, data, *size);
    for (uint32_t n = 1 + next_random(random) % 3; n > 0; n--) {
        size_t at = next_random(random) % (*size ? *size : 1);
        uint8_t byte = next_random(random) % 2 ? LIKELY[next_random(random) % (sizeof LIKELY - 1)]
                                               : (uint8_t)next_random(random);
        switch (next_random(random) % 4) {
        case 0: /* cut */
            *size = *size > 2 ? 2 + next_random(random) % (*size - 2) : *size;
            break;
        case 1: /* remove */
            if (*size > at + 1) {
                memmove(made + at, made + at + 1, *size - at - 1);
                --*size;
            }
            break;
        case 2: /* insert */
            if (*size < room) {
                memmove(made + at + 1, made + at, *size - at);
                made[at] = byte;
                ++*size;
            }
            break;
        default:
            if (at < *size) {
                made[at] = byte;
            }
        }
    }
    return made;
}

int main(int argc, char **argv) {
    MUST(argc > 3);
    em_encoding encoding = strcmp(argv[1], "json") == 0 ? EM_JSON : EM_MSGPACK;
    unsigned long changes = strtoul(argv[2], NULL, 10), events = 0, frames = 0;
    uint32_t random = 1;
    uint64_t hash = 0;
    for (int i = 3; i < argc; i++) {
        static uint8_t data[1 << 20];
        FILE *file = fopen(argv[i], "rb");
        MUST(file != NULL);
        size_t size = fread(data, 1, sizeof data, file);
        fclose(file);
        tally all = drive_input(encoding, data, size);
        events += all.events;
        frames += all.frames;
        hash = hash * 31 + all.hash;
        for (unsigned long k = 0; k < changes && size >= 2; k++) {
            size_t changed = size;
            uint8_t *made = change(data, &changed, &random);
            hash = hash * 31 + drive_input(encoding, made, changed).hash;
            free(made);
        }
    }
    printf("%d inputs, %lu frames, %lu events, hash %016llx\n", argc - 3, frames, events, (unsigned long long)hash);
    return 0;
}
