/* arc4random_buf for packaging/expat.sh: from the kernel, as glibc's own (2.36). */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/types.h>

__attribute__((visibility("hidden"))) void arc4random_buf(void *into, size_t size);

void arc4random_buf(void *into, size_t size)
{
    unsigned char *at = into;
    while (size > 0) {
        ssize_t got = getrandom(at, size, 0);
        if (got >= 0) {
            at += got;
            size -= (size_t)got;
        } else if (errno != EINTR) {
            abort(); /* a kernel without getrandom, older than any with that glibc */
        }
    }
}
