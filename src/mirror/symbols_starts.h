/* Where functions begin by a file's unwinding table, .eh_frame, which strip(1) leaves: for files whose
 * symbols are gone. LSB Core, "Exception Frames"; DWARF 5, section 6.4. */
#pragma once

#include <glib.h>

#include "mirror/elf_facts.h"

typedef struct {
  guint64 vaddr; /* in the file, as in Symbol */
  guint64 size;  /* bytes, not 0 */
  /* A function, of the compiler or in assembler: at its first byte the frame is as just after a call, so a
   * block can begin there. Otherwise code that is jumped to (the unlikely half of a function), a frame that
   * the kernel makes, a process's very first code, or a stub of the procedure linkage table. */
  gboolean begins;
} SymbolsStart;

/* All entries of the file, by address, one per address, of SymbolsStart. Empty where it has no such table or
 * one that cannot be read. `facts` are the file's, `fd` stays the caller's. */
GArray *symbols_starts_read(int fd, const ElfFacts *facts);

/* The entry that an address belongs to, or NULL. */
const SymbolsStart *symbols_starts_enclosing(const GArray *starts, guint64 vaddr);
