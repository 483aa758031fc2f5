/* Which libraries a program will be linked with, found as ld.so(8) finds them but without running anything.
 *
 * Searched, per needed name: DT_RPATH (where there is no RUNPATH), $LD_LIBRARY_PATH, DT_RUNPATH,
 * /etc/ld.so.cache, the default directories; $ORIGIN, $LIB and $PLATFORM are replaced. Libraries opened later
 * with dlopen(3) are not in it. */
#pragma once

#include <glib.h>

#include "mirror/elf_facts.h"

typedef struct {
  char *name;      /* as needed; of the program its path */
  char *path;      /* NULL: not found */
  char *needed_by; /* path of the first module that needs it; NULL for the program, and LD_PRELOAD's */
  ElfFacts *facts; /* NULL: not found */
} LinkMapEntry;

/* The program first, then $LD_PRELOAD's and the libraries in the loader's order (breadth first), the loader
 * itself where nothing needs it by name at the end. Of LinkMapEntry *, owned by the array. `program` is a
 * path. */
GPtrArray *symbols_link_map(const char *program, GError **error);
