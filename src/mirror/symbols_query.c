#include "mirror/symbols_query.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "mirror/symbols_demangle.h"

#define QUERY_LIMIT 4096

void
symbols_query_free(SymbolQuery *query)
{
  if (!query)
    return;
  g_free(query->text);
  g_free(query->module);
  g_free(query->name);
  g_free(query->version);
  g_free(query->normalised);
  g_free(query->identifier);
  g_free(query);
}

/* The colon that ends LIB: the first one that is not part of "::". */
static const char *
module_end(const char *text)
{
  for (const char *at = text; *at; at++) {
    if (*at != ':')
      continue;
    if (at[1] != ':')
      return at;
    at++;
  }
  return NULL;
}

static gboolean
is_identifier(char c)
{
  return g_ascii_isalnum(c) || c == '_' || c == '$' || (c & 0x80);
}

/* The last identifier of a name before its parameters and template arguments: mangling keeps it as it is. */
static char *
last_identifier(const char *name)
{
  if (strstr(name, "operator"))
    return NULL;
  const char *start = g_str_has_prefix(name, "(anonymous namespace)") ? name + 1 : name;
  const char *end = start + strcspn(start, "(<");
  /* With template arguments before a "::" the last identifier is further on. */
  if (strstr(end, "::"))
    return NULL;
  while (end > start && !is_identifier(end[-1]))
    end--;
  const char *first = end;
  while (first > start && is_identifier(first[-1]))
    first--;
  return end > first ? g_strndup(first, end - first) : NULL;
}

static gboolean
parse_address(const char *text, SymbolQuery *query, GError **error)
{
  char *end;
  errno = 0;
  query->address = g_ascii_strtoull(text, &end, 16);
  query->is_address = TRUE;
  if (*end != '\0' || end == text + 2 || errno == ERANGE)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE,
                            "\"%s\" is no address: write it as 0x and hexadecimal digits", text);
  return TRUE;
}

/* Where "+0xOFFSET" begins at the text's end, or NULL: no symbol's name ends like that. */
static const char *
offset_start(const char *text)
{
  const char *plus = strrchr(text, '+');
  gsize digits = plus && g_str_has_prefix(plus, "+0x") ? strspn(plus + 3, "0123456789abcdefABCDEF") : 0;
  return digits > 0 && plus[3 + digits] == '\0' ? plus : NULL;
}

SymbolQuery *
symbols_query_parse(const char *text, GError **error)
{
  g_autoptr(SymbolQuery) query = g_new0(SymbolQuery, 1);
  query->text = g_strdup(text);
  const char *plus = offset_start(text);
  if (plus > text && strlen(text) <= QUERY_LIMIT) {
    query->module = g_strndup(text, plus - text);
    query->is_offset = TRUE;
    return parse_address(plus + 1, query, error) ? g_steal_pointer(&query) : NULL;
  }
  const char *colon = module_end(text);
  const char *name = colon ? colon + 1 : text;
  if (colon == text || *name == '\0' || strlen(text) > QUERY_LIMIT || module_end(name)) {
    doppel_error_set(error, DOPPEL_ERROR_USAGE,
                     "\"%.100s\" names no function: write SYMBOL, LIB:SYMBOL, ns::Class::method, "
                     "0xADDRESS, LIB:0xADDRESS or LIB+0xOFFSET",
                     text);
    return NULL;
  }
  if (colon)
    query->module = g_strndup(text, colon - text);
  if (g_str_has_prefix(name, "0x") || g_str_has_prefix(name, "0X"))
    return parse_address(name, query, error) ? g_steal_pointer(&query) : NULL;
  if (g_str_has_prefix(name, "::"))
    name += 2;
  const char *at = strchr(name + (*name != '\0'), '@');
  if (at) {
    query->name = g_strndup(name, at - name);
    query->version = g_strdup(at + strspn(at, "@"));
  } else {
    query->name = g_strdup(name);
  }
  query->normalised = symbols_normalise(query->name, TRUE);
  query->identifier = last_identifier(query->name);
  return g_steal_pointer(&query);
}

/* A file's name and the shorter ones that people use for a library: up to any dot ("libsqlite3.so.0",
 * "libsqlite3"), up to a version within the name ("libMagickCore" of "libMagickCore-6.Q16.so.6"), and all of
 * these without "lib". */
static gboolean
names_file(const char *module, const char *file)
{
  gsize length = strlen(module);
  const char *so = strstr(file, ".so");
  gboolean library = so && (so[3] == '.' || so[3] == '\0');
  if (g_str_equal(module, file))
    return TRUE;
  if (!library)
    return FALSE;
  const char *rest = file + length;
  if (strncmp(module, file, length) == 0 && (*rest == '.' || (*rest == '-' && g_ascii_isdigit(rest[1]))))
    return TRUE;
  return g_str_has_prefix(file, "lib") && !g_str_has_prefix(module, "lib") && names_file(module, file + 3);
}

/* One file by two names, as /lib/libz.so.1 and /usr/lib/libz.so.1.2.13 are. */
static gboolean
is_same_file(const char *left, const char *right)
{
  char *first = realpath(left, NULL), *second = realpath(right, NULL);
  gboolean same = first && second && g_str_equal(first, second);
  free(first);
  free(second);
  return same;
}

gboolean
symbols_query_names_module(const SymbolQuery *query, const char *path, const char *soname)
{
  if (!query->module)
    return TRUE;
  if (strchr(query->module, '/')) {
    if (g_str_equal(query->module, path))
      return TRUE;
    g_autofree char *wanted = g_canonicalize_filename(query->module, NULL);
    return g_str_equal(wanted, path) || is_same_file(wanted, path);
  }
  g_autofree char *file = g_path_get_basename(path);
  return names_file(query->module, file) || (soname && names_file(query->module, soname));
}

static const char *const copies[] = {".constprop.", ".isra.", ".lto_priv.", ".llvm.", ".part."};

gsize
symbols_stem_length(const char *name)
{
  gsize length = strlen(name);
  for (gsize i = 0; i < G_N_ELEMENTS(copies); i++) {
    const char *found = strstr(name, copies[i]);
    if (found && found > name && g_ascii_isdigit(found[strlen(copies[i])]))
      length = MIN(length, (gsize)(found - name));
  }
  return length;
}

/* Takes `demangled`, which may be NULL. */
static gboolean
matches_text(const SymbolQuery *query, char *demangled, gboolean templates)
{
  if (!demangled)
    return FALSE;
  g_autofree char *normalised = symbols_normalise(demangled, templates);
  g_free(demangled);
  if (g_str_equal(normalised, query->normalised))
    return TRUE;
  /* Rust's older mangling ends with a hash that nobody types. */
  gsize length = strlen(query->normalised);
  if (strncmp(normalised, query->normalised, length) != 0)
    return FALSE;
  const char *hash = normalised + length;
  return g_str_has_prefix(hash, "::h") && strlen(hash) == 19 && strspn(hash + 3, "0123456789abcdef") == 16;
}

static gboolean
matches_stem(const SymbolQuery *query, const char *stem)
{
  if (g_str_equal(stem, query->name))
    return TRUE;
  if (stem[0] != '_' || (stem[1] != 'Z' && stem[1] != 'R'))
    return FALSE;
  if (query->identifier && !strstr(stem, query->identifier))
    return FALSE;
  if (strchr(query->name, '(') && matches_text(query, symbols_demangle(stem), TRUE))
    return TRUE;
  return matches_text(query, symbols_demangle_bare(stem), TRUE) ||
         matches_text(query, symbols_demangle_bare(stem), FALSE);
}

SymbolsMatch
symbols_query_matches(const SymbolQuery *query, const char *name, const char *version)
{
  if (query->is_address || (query->version && g_strcmp0(query->version, version) != 0))
    return SYMBOLS_NO_MATCH;
  if (g_str_equal(name, query->name))
    return SYMBOLS_MATCH;
  /* Most names are settled by this, without demangling or copying. */
  if (query->identifier && !strstr(name, query->identifier))
    return SYMBOLS_NO_MATCH;
  g_autofree char *stem = g_strndup(name, symbols_stem_length(name));
  if (!matches_stem(query, stem))
    return SYMBOLS_NO_MATCH;
  return strstr(name, ".part.") ? SYMBOLS_PART : SYMBOLS_MATCH;
}
