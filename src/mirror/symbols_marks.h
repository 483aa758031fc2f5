/* From a file's marks (ElfFacts.marks), which are somewhere in functions, to the functions. */
#pragma once

#include "mirror/symbols.h"

/* What symbols_marked() returns; of const Symbol *, the file's. By the symbols, and where none covers a mark
 * by the unwinding table, which strip(1) leaves. `fd` is the file's and stays the caller's. */
GPtrArray *symbols_marks_resolve(SymbolFile *file, int fd);
