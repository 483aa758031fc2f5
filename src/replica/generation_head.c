#include "replica/generation_head.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/error.h"
#include "base/io.h"

#define FILE_NAME   "HEAD"
#define FRESH_NAME  "HEAD.new"
#define FIRST_LINE  "doppel-generations 1"
#define HEAD_MAX    (8u << 20) /* bytes */
#define CHECK_START "checksum "
#define CHECK_SIZE  (sizeof CHECK_START - 1 + 16 + 1)

GenerationRecord *
generation_record_new(void)
{
  GenerationRecord *record = g_new0(GenerationRecord, 1);
  record->layers = g_array_new(FALSE, FALSE, sizeof(guint64));
  return record;
}

void
generation_record_free(GenerationRecord *record)
{
  if (!record)
    return;
  g_array_unref(record->layers);
  g_free(record);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GenerationRecord, generation_record_free)

GenerationHead *
generation_head_new(void)
{
  GenerationHead *head = g_new0(GenerationHead, 1);
  randombytes_buf(head->identity, sizeof head->identity);
  head->generations = g_ptr_array_new_with_free_func((GDestroyNotify)generation_record_free);
  return head;
}

void
generation_head_free(GenerationHead *head)
{
  if (!head)
    return;
  g_ptr_array_unref(head->generations);
  g_free(head);
}

static void
format_record(GString *text, const GenerationRecord *record)
{
  g_string_append_printf(text,
                         "generation %" G_GUINT64_FORMAT " %" G_GINT64_FORMAT " %" G_GINT64_FORMAT
                         " %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT " ",
                         record->number, record->time_ns, record->kept_ns, record->nodes, record->bytes);
  for (guint i = 0; i < record->layers->len; i++)
    g_string_append_printf(text, "%s%" G_GUINT64_FORMAT, i ? "," : "",
                           g_array_index(record->layers, guint64, i));
  g_string_append_c(text, '\n');
}

GBytes *
generation_head_format(const GenerationHead *head)
{
  char identity[2 * GENERATION_IDENTITY + 1];
  sodium_bin2hex(identity, sizeof identity, head->identity, sizeof head->identity);
  GString *text = g_string_new(NULL);
  g_string_append_printf(text, FIRST_LINE "\nidentity %s\n", identity);
  for (guint i = 0; i < head->generations->len; i++)
    format_record(text, head->generations->pdata[i]);
  g_string_append_printf(text, CHECK_START "%016" G_GINT64_MODIFIER "x\n",
                         (guint64)XXH3_64bits(text->str, text->len));
  return g_string_free_to_bytes(text);
}

static gboolean
parse_layers(const char *text, GenerationRecord *record)
{
  g_auto(GStrv) numbers = g_strsplit(text, ",", GENERATION_LAYERS + 2);
  for (char **at = numbers; *at; at++) {
    guint64 layer;
    if (!g_ascii_string_to_unsigned(*at, 10, 1, G_MAXINT64 / 4, &layer, NULL))
      return FALSE;
    g_array_append_val(record->layers, layer);
  }
  return record->layers->len > 0 && record->layers->len <= GENERATION_LAYERS;
}

static GenerationRecord *
parse_record(const char *line)
{
  g_autoptr(GenerationRecord) record = generation_record_new();
  g_auto(GStrv) words = g_strsplit(line, " ", 8);
  if (g_strv_length(words) == 7 && strcmp(words[0], "generation") == 0 &&
      g_ascii_string_to_unsigned(words[1], 10, 1, G_MAXINT64 / 4, &record->number, NULL) &&
      g_ascii_string_to_signed(words[2], 10, G_MININT64, G_MAXINT64, &record->time_ns, NULL) &&
      g_ascii_string_to_signed(words[3], 10, G_MININT64, G_MAXINT64, &record->kept_ns, NULL) &&
      g_ascii_string_to_unsigned(words[4], 10, 0, G_MAXUINT64, &record->nodes, NULL) &&
      g_ascii_string_to_unsigned(words[5], 10, 0, G_MAXUINT64, &record->bytes, NULL) &&
      parse_layers(words[6], record))
    return g_steal_pointer(&record);
  return NULL;
}

static gboolean
parse_identity(const char *line, GenerationHead *head)
{
  static const char start[] = "identity ";
  gsize length = 0;
  return g_str_has_prefix(line, start) && strlen(line) == strlen(start) + 2 * GENERATION_IDENTITY &&
         sodium_hex2bin(head->identity, sizeof head->identity, line + strlen(start), 2 * GENERATION_IDENTITY,
                        NULL, &length, NULL) == 0 &&
         length == GENERATION_IDENTITY;
}

/* The lines before the last, which has the checksum of them; NULL where it is not theirs. */
static char *
checked_lines(GBytes *bytes)
{
  gsize length;
  const char *data = g_bytes_get_data(bytes, &length);
  if (length < CHECK_SIZE || length > HEAD_MAX || memchr(data, '\0', length))
    return NULL;
  char expected[CHECK_SIZE + 1];
  g_snprintf(expected, sizeof expected, CHECK_START "%016" G_GINT64_MODIFIER "x\n",
             (guint64)XXH3_64bits(data, length - CHECK_SIZE));
  return memcmp(data + length - CHECK_SIZE, expected, CHECK_SIZE) == 0 ? g_strndup(data, length - CHECK_SIZE)
                                                                       : NULL;
}

static GenerationHead *
parse_lines(const char *text)
{
  g_autoptr(GenerationHead) head = generation_head_new();
  g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
  guint count = g_strv_length(lines); /* the last is empty */
  if (count < 3 || strcmp(lines[0], FIRST_LINE) != 0 || !parse_identity(lines[1], head) || *lines[count - 1])
    return NULL;
  for (guint i = 2; i + 1 < count; i++) {
    GenerationRecord *record = parse_record(lines[i]), *last = generation_head_last(head);
    if (record)
      g_ptr_array_add(head->generations, record);
    if (!record || (last && last->number >= record->number))
      return NULL;
  }
  return g_steal_pointer(&head);
}

GenerationHead *
generation_head_parse(GBytes *bytes, GError **error)
{
  g_autofree char *text = checked_lines(bytes);
  GenerationHead *head = text ? parse_lines(text) : NULL;
  if (!head)
    doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the list of generations (" FILE_NAME ") is damaged");
  return head;
}

GenerationHead *
generation_head_read(int store, GError **error)
{
  g_autofree char *text = io_read_file_at(store, FILE_NAME, HEAD_MAX);
  if (!text && errno == ENOENT)
    doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND, "there is no clone of a device's files here");
  else if (!text)
    doppel_error_errno(error, "cannot read the list of generations");
  if (!text)
    return NULL;
  g_autoptr(GBytes) bytes = g_bytes_new_static(text, strlen(text));
  return generation_head_parse(bytes, error);
}

gboolean
generation_head_write(int store, const GenerationHead *head, GError **error)
{
  g_autoptr(GBytes) text = generation_head_format(head);
  unlinkat(store, FRESH_NAME, 0);
  g_auto(Fd) file = openat(store, FRESH_NAME, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (file >= 0 && io_write_all(file, g_bytes_get_data(text, NULL), g_bytes_get_size(text)) &&
      fsync(file) == 0 && renameat(store, FRESH_NAME, store, FILE_NAME) == 0 && fsync(store) == 0)
    return TRUE;
  int failure = errno;
  unlinkat(store, FRESH_NAME, 0);
  errno = failure;
  return doppel_error_errno(error, "cannot write the list of generations");
}

GenerationRecord *
generation_head_last(const GenerationHead *head)
{
  return head->generations->len ? head->generations->pdata[head->generations->len - 1] : NULL;
}

GenerationRecord *
generation_head_find(const GenerationHead *head, guint64 number)
{
  for (guint i = 0; i < head->generations->len; i++) {
    GenerationRecord *record = head->generations->pdata[i];
    if (record->number == number)
      return record;
  }
  return NULL;
}
