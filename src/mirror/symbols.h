/* The functions that a program or library offers for off-loading: its symbol tables, and the user's words for
 * them.
 *
 * Tables are read with libelf: .symtab (where the file, or a debug file installed for its build-id, has one)
 * and .dynsym. A stripped library still has its dynamic symbols. Stubs of the procedure linkage table are no
 * functions. */
#pragma once

#include <glib.h>

#include "mirror/elf_facts.h"
#include "mirror/symbols_query.h"

typedef enum {
  SYMBOL_FUNCTION,
  /* STT_GNU_IFUNC: the symbol's address is a resolver's, which the loader calls once; what runs afterwards is
   * the function that it returned. A breakpoint belongs there: read it from the process with symbols_slots().
   */
  SYMBOL_IFUNC,
  SYMBOL_ADDRESS, /* named by its address alone */
} SymbolKind;

typedef enum { SYMBOL_LOCAL, SYMBOL_GLOBAL, SYMBOL_WEAK } SymbolBinding;

typedef struct {
  const char *name;    /* as in the table, mangled, without version */
  const char *version; /* NULL: none */
  guint64 vaddr;       /* in the file; add elf_facts_bias() for a process */
  guint64 offset;      /* of the function's first byte in the file */
  guint64 size;        /* bytes; 0: unknown */
  SymbolKind kind;
  SymbolBinding binding;
  gboolean dynamic; /* exported or known to the loader, so also there in a stripped file */
} Symbol;

typedef struct SymbolFile SymbolFile;

/* Reads an ELF file's tables. NULL with the errors of elf_facts_read(). A file without any symbols is no
 * error. */
SymbolFile *symbols_open(const char *path, GError **error);

/* The same from an open descriptor, which stays the caller's and may be closed afterwards. */
SymbolFile *symbols_open_fd(int fd, const char *path, GError **error);
void symbols_close(SymbolFile *file);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SymbolFile, symbols_close)

const ElfFacts *symbols_facts(const SymbolFile *file);

/* All functions, by address and then name, each name of an address once. Symbols live as long as the file. */
guint symbols_count(const SymbolFile *file);
const Symbol *symbols_at(const SymbolFile *file, guint index);

/* The functions that the file's author has marked (include/doppel/offload.h), by address, each once; of const
 * Symbol *, the file's. A mark in a function whose beginning nothing tells counts for nothing. */
const GPtrArray *symbols_marked(const SymbolFile *file);
gboolean symbols_is_marked(const SymbolFile *file, const Symbol *symbol);

/* Whether the file calls a function of this name that another file defines. */
gboolean symbols_imports(const SymbolFile *file, const char *name);

/* The functions that the query means in this file, one per address (of several names the best known), empty
 * where none is meant, also where the query's LIB part is another library. An address that is in no
 * function's beginning is an error. */
GPtrArray *symbols_resolve(SymbolFile *file, const SymbolQuery *query, GError **error);

/* The function that an address belongs to, or NULL. */
const Symbol *symbols_enclosing(const SymbolFile *file, guint64 vaddr);

/* The function that begins at an address: the table's, or where no symbol covers it one of that address
 * alone. NULL with USAGE for an address inside a function, in a stub of the linkage table, or not in code. */
const Symbol *symbols_by_address(SymbolFile *file, guint64 vaddr, GError **error);

/* The functions of this file that an IFUNC symbol may stand for, as far as names tell
 * ("__memcpy_avx_unaligned" for memcpy, "f.avx2" for f): often none in a stripped library. */
GPtrArray *symbols_implementations(const SymbolFile *file, const Symbol *ifunc);

/* Addresses, in this file, of 8-byte words that hold the address of the function `name` once the loader has
 * relocated them (at the program's entry, with LD_BIND_NOW): from JUMP_SLOT, GLOB_DAT and 64-bit relocations
 * against the name and, with `resolver` not 0, IRELATIVE ones for the resolver at that address of this file.
 * Their contents in a process say what an IFUNC became. Of guint64. */
GArray *symbols_slots(const SymbolFile *file, const char *name, guint64 resolver);

typedef struct {
  SymbolFile *file;     /* borrowed */
  const Symbol *symbol; /* lives as long as the file */
} SymbolFound;

/* The query's functions in all of `files` (of SymbolFile). NULL with NOT_FOUND and near names where there are
 * none. */
GArray *symbols_find(GPtrArray *files, const SymbolQuery *query, GError **error);

/* Names near the query's, best first, as text for a message: "sqlite3_step (libsqlite3.so.0), ...". NULL:
 * nothing near. */
char *symbols_suggest(GPtrArray *files, const SymbolQuery *query);

/* A symbol's name for people: demangled where it can be. To be freed. */
char *symbols_display_name(const Symbol *symbol);

/* A file's name for people and for LIB: its soname or the last part of its path. To be freed. */
char *symbols_module_name(const SymbolFile *file);
