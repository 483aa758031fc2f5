/* What the user wrote for FUNCTION, and whether a symbol or a library is meant by it.
 *
 *   symbol             as in the symbol table; symbol@VERSION for one version of it
 *   ns::Class::method  a C++ or Rust name; with the parameters in parentheses for one overload, with or
 *                      without template arguments
 *   0x1234             an address in the program's file, as nm(1) and objdump(1) print it
 *   LIB:any of these   in one library: libsqlite3.so.0, libsqlite3, sqlite3, or a path; the program's own
 * name names it LIB+0x1234         the function whose first byte is there in the library's file: how plans
 * name functions */
#pragma once

#include <glib.h>

typedef struct {
  char *text;    /* as the user wrote it */
  char *module;  /* NULL: any */
  char *name;    /* without version; NULL for an address */
  char *version; /* NULL: any */
  gboolean is_address;
  guint64 address;    /* in the module's file */
  gboolean is_offset; /* the address is an offset in the file instead */

  char *normalised; /* how the name is compared with a demangled one */
  char *identifier; /* occurs verbatim in every mangled form of the name; NULL: nothing known to */
} SymbolQuery;

/* NULL with USAGE when `text` is none of these. */
SymbolQuery *symbols_query_parse(const char *text, GError **error);
void symbols_query_free(SymbolQuery *query);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SymbolQuery, symbols_query_free)

/* Whether the query's LIB part means the library at `path` with this soname (NULL: none). TRUE for a query
 * without LIB. */
gboolean symbols_query_names_module(const SymbolQuery *query, const char *path, const char *soname);

/* How well a symbol answers: a compiler's specialised copy (f.constprop.0, f.isra.0) is the function too; the
 * outlined part of one whose rest was inlined (f.part.0) only where there is nothing better. */
typedef enum { SYMBOLS_NO_MATCH, SYMBOLS_PART, SYMBOLS_MATCH } SymbolsMatch;
SymbolsMatch symbols_query_matches(const SymbolQuery *query, const char *name, const char *version);

/* The length of a raw name before the compiler's suffix: "f.constprop.0" -> 1. */
gsize symbols_stem_length(const char *name);
