#include "mirror/symbols_demangle.h"

#include <libiberty/demangle.h>
#include <setjmp.h>
#include <string.h>

#include "mirror/symbols_rust.h"

#define MANGLED_LIMIT 4096
#define TEXT_LIMIT    16384

typedef struct {
  char text[TEXT_LIMIT];
  gsize length;
  jmp_buf too_long;
} Bounded;

static void
append_bounded(const char *piece, size_t length, void *opaque)
{
  Bounded *bounded = opaque;
  /* An empty piece may come as a null pointer. */
  if (length == 0)
    return;
  /* The demangler works on its stack alone, so leaving it this way loses nothing. */
  if (length >= TEXT_LIMIT - bounded->length)
    longjmp(bounded->too_long, 1);
  memcpy(bounded->text + bounded->length, piece, length);
  bounded->length += length;
}

static char *
demangle(const char *mangled, int options)
{
  gboolean itanium = g_str_has_prefix(mangled, "_Z");
  if (strnlen(mangled, MANGLED_LIMIT) == MANGLED_LIMIT || (!itanium && !symbols_rust_is_bounded(mangled)))
    return NULL;
  g_autofree Bounded *bounded = g_malloc(sizeof(Bounded));
  Bounded *volatile kept = bounded;
  bounded->length = 0;
  if (setjmp(bounded->too_long))
    return NULL;
  int good = itanium ? cplus_demangle_v3_callback(mangled, options, append_bounded, kept)
                     : rust_demangle_callback(mangled, 0, append_bounded, kept);
  if (!good)
    return NULL;
  return g_strndup(kept->text, kept->length);
}

char *
symbols_demangle(const char *mangled)
{
  return demangle(mangled, DMGL_PARAMS | DMGL_ANSI);
}

char *
symbols_demangle_bare(const char *mangled)
{
  return demangle(mangled, DMGL_ANSI | DMGL_RET_DROP);
}

/* The length of the operator that follows the word "operator" at `at`, if angle brackets in it open nothing.
 */
static gsize
operator_length(const char *at)
{
  static const char *const operators[] = {"<=>", "<<=", ">>=", "->*", "<<", ">>", "<=", ">=", "->", "<", ">"};
  for (gsize i = 0; i < G_N_ELEMENTS(operators); i++)
    if (g_str_has_prefix(at, operators[i]))
      return strlen(operators[i]);
  return 0;
}

static gboolean
is_word(char c)
{
  return g_ascii_isalnum(c) || c == '_' || c == '$';
}

static gboolean
after_operator_word(const GString *text)
{
  const gsize length = strlen("operator");
  return text->len >= length && memcmp(text->str + text->len - length, "operator", length) == 0 &&
         (text->len == length || !is_word(text->str[text->len - length - 1]));
}

char *
symbols_normalise(const char *demangled, gboolean templates)
{
  GString *text = g_string_new(NULL);
  int depth = 0;
  for (const char *at = demangled; *at; at++) {
    if (*at == ' ')
      continue;
    const char *end;
    if (g_str_has_prefix(at, "[abi:") && (end = strchr(at, ']'))) {
      at = end;
      continue;
    }
    if (depth == 0 && after_operator_word(text)) {
      gsize length = operator_length(at);
      if (length > 0) {
        g_string_append_len(text, at, length);
        at += length - 1;
        continue;
      }
    }
    if (!templates && *at == '<') {
      depth++;
    } else if (!templates && *at == '>' && depth > 0 && at[-1] != '-') {
      depth--;
    } else if (depth == 0) {
      g_string_append_c(text, *at);
    }
  }
  return g_string_free(text, FALSE);
}
