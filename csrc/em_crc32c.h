/* CRC-32C (Castagnoli), reflected polynomial 0x82f63b78, as in iSCSI (RFC 3720 appendix B.4).
 *
 * No state, no allocation. The tables are constant.
 * Speed: the SSE4.2 instruction where the processor has it (asked at run time), the ARMv8 one when
 * compiled for it, else slicing by 8. -DEM_PORTABLE leaves only the last.
 */
#ifndef EM_CRC32C_H
#define EM_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* crc: 0, or the checksum of what came before, so that crc(crc(0, a), b) == crc(0, a + b).
O(size). */ uint32_t em_crc32c(uint32_t crc, const void *data, size_t size);

#endif
