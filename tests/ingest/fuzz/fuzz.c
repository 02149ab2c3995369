/* For libFuzzer: clang -DENCODING=EM_JSON -fsanitize=fuzzer,address,undefined … ; tests/ingest/test_fuzz.py runs it. */
#include "drive.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    (void)drive_input(ENCODING, data, size);
    return 0;
}
