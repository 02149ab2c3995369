#define _GNU_SOURCE
#include "em_relocations.h"

#include <link.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

/* Whether a segment has it and is never written. */
static int is_read_only(const struct dl_phdr_info *object, uintptr_t start, uintptr_t end) {
    for (size_t i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
        uintptr_t from = object->dlpi_addr + segment->p_vaddr;
        if (segment->p_type == PT_LOAD && from <= start && end <= from + segment->p_filesz)
            return !(segment->p_flags & PF_W);
    }
    return 0;
}

static const ElfW(Dyn) *dynamic_of(const struct dl_phdr_info *object) {
    for (size_t i = 0; i < object->dlpi_phnum; i++)
        if (object->dlpi_phdr[i].p_type == PT_DYNAMIC)
            return (const ElfW(Dyn) *)(object->dlpi_addr + object->dlpi_phdr[i].p_vaddr);
    return NULL;
}

static int release_one(struct dl_phdr_info *object, size_t info_size, void *released) {
    (void)info_size;
    uintptr_t start = 0, size = 0, page = (uintptr_t)sysconf(_SC_PAGESIZE);
    const ElfW(Dyn) *entry = dynamic_of(object);
    for (; entry && entry->d_tag != DT_NULL; entry++) {
        if (entry->d_tag == DT_RELA || entry->d_tag == DT_REL)
            start = entry->d_un.d_ptr;
        else if (entry->d_tag == DT_RELASZ || entry->d_tag == DT_RELSZ)
            size = entry->d_un.d_val;
    }
    if (start < object->dlpi_addr) /* a loader that leaves the addresses as they are in the file */
        start += object->dlpi_addr;
    uintptr_t end = (start + size) & ~(page - 1);
    start = (start + page - 1) & ~(page - 1);
    if (start < end && is_read_only(object, start, end) &&
        madvise((void *)start, end - start, MADV_DONTNEED) == 0)
        *(size_t *)released += end - start;
    return 0;
}

size_t em_release_relocations(void) {
    size_t released = 0;
    dl_iterate_phdr(release_one, &released);
    return released;
}
