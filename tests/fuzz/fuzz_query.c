/* The user's words for a function, against a mangled name: two lines of text. */
#include <string.h>

#include "mirror/symbols_demangle.h"
#include "mirror/symbols_query.h"

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize length)
{
  g_autofree char *text = g_strndup((const char *)data, length);
  char *line = strchr(text, '\n');
  const char *name = line ? line + 1 : "_ZN2ns5Class6methodEi";
  if (line)
    *line = '\0';
  g_autofree char *full = symbols_demangle(name);
  if (full)
    g_free(symbols_normalise(full, FALSE));
  g_autoptr(SymbolQuery) query = symbols_query_parse(text, NULL);
  if (query) {
    symbols_query_matches(query, name, NULL);
    symbols_query_names_module(query, "/usr/lib/libfoo-1.so.2", "libfoo.so");
  }
  return 0;
}
