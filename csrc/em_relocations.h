/* Gives back what the dynamic loader alone reads: each loaded object's table of relocations (ELF gABI chapter 5,
 * DT_RELA or DT_REL), which it walks once, when it loads the object. The pages stay mapped into the process for ever
 * after, a sixth of libpython's. They are clean pages of a file: whoever did read them again would get them again.
 *
 * Linux. No state, no allocation; what the kernel refuses is left as it is.
 */
#ifndef EM_RELOCATIONS_H
#define EM_RELOCATIONS_H

#include <stddef.h>

/* Of every object that is loaded now. Only whole pages inside a table that nothing may write to; not the table of
 * calls, which is read as late as a function's first call. Returns how many bytes of address space that are, mapped or
 * not. For any thread, at any time. */
size_t em_release_relocations(void);

#endif
