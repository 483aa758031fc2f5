#include "signatures.h"

#include <string.h>

static void
signature_free(gpointer data)
{
  Signature *signature = data;
  for (gsize i = 0; i < signature->n_runs; i++)
    g_free(signature->runs[i].bytes);
  g_free(signature->runs);
  g_free(signature->sha256);
  g_free(signature->name);
  g_free(signature);
}

static gboolean bad(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);

static gboolean
bad(GError **error, const char *format, ...)
{
  va_list words;
  va_start(words, format);
  g_autofree char *message = g_strdup_vprintf(format, words);
  va_end(words);
  g_set_error_literal(error, G_FILE_ERROR, G_FILE_ERROR_INVAL, message);
  return FALSE;
}

/* The runs of a pattern while it is read. */
typedef struct {
  GArray *runs;
  GArray *bytes;
  gsize gap_min;
  gsize gap_max;
} Parser;

static void
end_run(Parser *parser)
{
  PatternRun run = {.length = parser->bytes->len, .gap_min = parser->gap_min, .gap_max = parser->gap_max};
  run.bytes = (PatternByte *)g_array_free(parser->bytes, FALSE);
  g_array_append_val(parser->runs, run);
  parser->bytes = g_array_new(FALSE, FALSE, sizeof(PatternByte));
}

static void
add_byte(Parser *parser, int value, int mask)
{
  PatternByte byte = {.value = (guint8)value, .mask = (guint8)mask};
  g_array_append_val(parser->bytes, byte);
}

/* "text", with \" and \\. */
static gboolean
parse_text(Parser *parser, const char **at, GError **error)
{
  for (const char *c = *at + 1; *c; c++) {
    if (*c == '"') {
      *at = c + 1;
      return TRUE;
    }
    if (*c == '\\' && (c[1] == '"' || c[1] == '\\'))
      c++;
    add_byte(parser, (guint8)*c, 0xff);
  }
  return bad(error, "a text has no closing \"");
}

/* {5} or {0-16}. */
static gboolean
parse_gap(Parser *parser, const char **at, GError **error)
{
  char *end;
  const char *c = *at + 1;
  if (!g_ascii_isdigit(*c))
    return bad(error, "a gap is written {5} or {0-16}");
  guint64 min = g_ascii_strtoull(c, &end, 10), max = min;
  if (*end == '-' && g_ascii_isdigit(end[1]))
    max = g_ascii_strtoull(end + 1, &end, 10);
  if (*end != '}')
    return bad(error, "a gap is written {5} or {0-16}");
  if (min > max || max > PATTERN_GAP_MAX)
    return bad(error, "a gap goes from less to more, and to %d at most", PATTERN_GAP_MAX);
  if (parser->bytes->len == 0)
    return bad(error, "a gap stands between bytes");
  end_run(parser);
  parser->gap_min = min;
  parser->gap_max = max;
  *at = end + 1;
  return TRUE;
}

/* 4d, 4?, ?d or ??. */
static gboolean
parse_hex(Parser *parser, const char **at, GError **error)
{
  int value = 0, mask = 0;
  for (int i = 0; i < 2; i++) {
    char c = (*at)[i];
    if (c != '?' && !g_ascii_isxdigit(c))
      return bad(error, "\"%.8s\" is no byte: write 4d, 4?, ?d or ??", *at);
    value = value << 4 | (c == '?' ? 0 : g_ascii_xdigit_value(c));
    mask = mask << 4 | (c == '?' ? 0 : 0xf);
  }
  add_byte(parser, value, mask);
  *at += 2;
  return TRUE;
}

static gboolean
parse_elements(Parser *parser, const char *text, GError **error)
{
  while (*text) {
    gboolean good = TRUE;
    if (g_ascii_isspace(*text))
      text++;
    else if (*text == '"')
      good = parse_text(parser, &text, error);
    else if (*text == '{')
      good = parse_gap(parser, &text, error);
    else
      good = parse_hex(parser, &text, error);
    if (!good)
      return FALSE;
  }
  if (parser->bytes->len == 0)
    return bad(error, "a pattern ends with a byte");
  end_run(parser);
  return TRUE;
}

static gboolean
parse_pattern(Signature *signature, const char *text, GError **error)
{
  Parser parser = {.runs = g_array_new(FALSE, FALSE, sizeof(PatternRun)),
                   .bytes = g_array_new(FALSE, FALSE, sizeof(PatternByte))};
  gboolean good = parse_elements(&parser, text, error);
  g_array_free(parser.bytes, TRUE);
  signature->n_runs = parser.runs->len;
  signature->runs = (PatternRun *)g_array_free(parser.runs, FALSE);
  return good;
}

static gboolean
parse_sha256(Signature *signature, const char *text, GError **error)
{
  if (strlen(text) != 64 || strspn(text, "0123456789abcdefABCDEF") != 64)
    return bad(error, "\"%s\" is no SHA-256: that is 64 hexadecimal digits", text);
  signature->sha256 = g_ascii_strdown(text, -1);
  return TRUE;
}

/* NAME KIND DATA */
static Signature *
parse_line(char *line, GError **error)
{
  g_auto(GStrv) fields = g_strsplit_set(line, " \t", 2);
  if (!fields[1]) {
    bad(error, "a line is NAME KIND DATA");
    return NULL;
  }
  char *kind = g_strstrip(fields[1]);
  gsize length = strcspn(kind, " \t");
  const char *data = g_strchug(kind + length);
  gboolean good;
  Signature *signature = g_new0(Signature, 1);
  signature->name = g_strdup(fields[0]);
  if (length == 5 && g_str_has_prefix(kind, "bytes"))
    good = parse_pattern(signature, data, error);
  else if (length == 6 && g_str_has_prefix(kind, "sha256"))
    good = parse_sha256(signature, data, error);
  else
    good = bad(error, "\"%.*s\" is no kind of signature: there are bytes and sha256", (int)length, kind);
  if (good)
    return signature;
  signature_free(signature);
  return NULL;
}

GPtrArray *
signatures_load(const char *path, GError **error)
{
  g_autofree char *text = NULL;
  gsize length;
  if (!g_file_get_contents(path, &text, &length, error))
    return NULL;
  if (strlen(text) != length) {
    bad(error, "%s: this is no text: it has a byte 0", path);
    return NULL;
  }
  g_autoptr(GPtrArray) signatures = g_ptr_array_new_with_free_func(signature_free);
  g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
  for (gsize i = 0; lines[i]; i++) {
    char *line = g_strstrip(lines[i]);
    if (*line == '\0' || *line == '#')
      continue;
    Signature *signature = parse_line(line, error);
    if (!signature) {
      g_prefix_error(error, "%s:%zu: ", path, i + 1);
      return NULL;
    }
    g_ptr_array_add(signatures, signature);
  }
  if (signatures->len == 0) {
    bad(error, "%s: there is no signature in it", path);
    return NULL;
  }
  return g_steal_pointer(&signatures);
}
