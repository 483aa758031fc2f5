#include "replica/generation_retention.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"

#define NS_PER_HOUR (3600 * G_GINT64_CONSTANT(1000000000))

#define FILE_NAME  "keep"
#define FILE_DRAFT "keep.new"
#define HEADING    "doppel keep 1"
#define FILE_MAX   (1u << 20) /* bytes */

static gint64
floor_divided(gint64 a, gint64 b)
{
  return a / b - (a % b < 0);
}

static gint64
hour_of(gint64 time_ns)
{
  return floor_divided(time_ns, NS_PER_HOUR);
}

static gint64
day_of(gint64 time_ns)
{
  return floor_divided(hour_of(time_ns), 24);
}

static gint64
week_of(gint64 time_ns)
{
  return floor_divided(day_of(time_ns) + 3, 7); /* 1970 began on a Thursday */
}

static gint64
month_of(gint64 time_ns)
{
  g_autoptr(GDateTime) date = g_date_time_new_from_unix_utc(day_of(time_ns) * 24 * 3600);
  return g_date_time_get_year(date) * 12 + g_date_time_get_month(date);
}

static void
keep(GHashTable *kept, const GenerationRecord *record, GenerationKept why)
{
  guint before = GPOINTER_TO_UINT(g_hash_table_lookup(kept, &record->number));
  g_hash_table_replace(kept, g_memdup2(&record->number, sizeof record->number),
                       GUINT_TO_POINTER(before | why));
}

/* The newest of each period, from the newest one back. A clock that went back makes a period come again: its
 * generations are then kept as of a further one. */
static void
keep_periods(const GenerationHead *head, gint64 (*period_of)(gint64), guint count, GenerationKept why,
             GHashTable *kept)
{
  gint64 last = 0;
  gboolean any = FALSE;
  for (guint i = head->generations->len; i-- > 0 && count > 0;) {
    const GenerationRecord *record = head->generations->pdata[i];
    gint64 period = period_of(record->kept_ns);
    if (any && period == last)
      continue;
    keep(kept, record, why);
    last = period;
    any = TRUE;
    count--;
  }
}

static void
keep_pins(const GenerationHead *head, const GArray *pins, GHashTable *kept)
{
  for (guint i = 0; pins && i < pins->len; i++) {
    const GenerationRecord *record = generation_head_find(head, g_array_index(pins, guint64, i));
    if (record)
      keep(kept, record, GENERATION_KEPT_PINNED);
  }
}

GHashTable *
generation_retention_keep(const GenerationHead *head, const GenerationRetention *retention)
{
  GHashTable *kept = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
  guint count = head->generations->len;
  if (generation_head_last(head))
    keep(kept, generation_head_last(head), GENERATION_KEPT_NEWEST);
  for (guint i = count > retention->last ? count - retention->last : 0; i < count; i++)
    keep(kept, head->generations->pdata[i], GENERATION_KEPT_LAST);
  keep_periods(head, hour_of, retention->hours, GENERATION_KEPT_HOURLY, kept);
  keep_periods(head, day_of, retention->days, GENERATION_KEPT_DAILY, kept);
  keep_periods(head, week_of, retention->weeks, GENERATION_KEPT_WEEKLY, kept);
  keep_periods(head, month_of, retention->months, GENERATION_KEPT_MONTHLY, kept);
  keep_pins(head, retention->pins, kept);
  return kept;
}

void
generation_retention_clear(GenerationRetention *retention)
{
  g_clear_pointer(&retention->pins, g_array_unref);
}

/* The file's lines but the first. */
static const struct {
  const char *word;
  gsize offset;
} rules[] = {
    {"last", G_STRUCT_OFFSET(GenerationRetention, last)},
    {"hourly", G_STRUCT_OFFSET(GenerationRetention, hours)},
    {"daily", G_STRUCT_OFFSET(GenerationRetention, days)},
    {"weekly", G_STRUCT_OFFSET(GenerationRetention, weeks)},
    {"monthly", G_STRUCT_OFFSET(GenerationRetention, months)},
};

char *
generation_retention_format(const GenerationRetention *retention)
{
  GString *text = g_string_new(HEADING "\n");
  for (guint i = 0; i < G_N_ELEMENTS(rules); i++)
    g_string_append_printf(text, "%s %u\n", rules[i].word,
                           G_STRUCT_MEMBER(guint, retention, rules[i].offset));
  for (guint i = 0; retention->pins && i < retention->pins->len; i++)
    g_string_append_printf(text, "pin %" G_GUINT64_FORMAT "\n", g_array_index(retention->pins, guint64, i));
  return g_string_free(text, FALSE);
}

static gboolean
parse_line(const char *line, GenerationRetention *retention)
{
  guint64 number;
  const char *space = strchr(line, ' ');
  if (!space || !g_ascii_string_to_unsigned(space + 1, 10, 0, G_MAXINT64, &number, NULL))
    return FALSE;
  gsize length = space - line;
  if (strncmp(line, "pin ", length + 1) == 0 && number > 0 &&
      retention->pins->len < GENERATION_RETENTION_MOST) {
    g_array_append_val(retention->pins, number);
    return TRUE;
  }
  for (guint i = 0; i < G_N_ELEMENTS(rules); i++)
    if (strlen(rules[i].word) == length && strncmp(line, rules[i].word, length) == 0 &&
        number <= GENERATION_RETENTION_MOST) {
      G_STRUCT_MEMBER(guint, retention, rules[i].offset) = number;
      return TRUE;
    }
  return FALSE;
}

gboolean
generation_retention_parse(const char *text, GenerationRetention *retention, GError **error)
{
  g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
  *retention = (GenerationRetention){.pins = g_array_new(FALSE, FALSE, sizeof(guint64))};
  gboolean good = lines[0] && strcmp(lines[0], HEADING) == 0;
  for (guint i = 1; good && lines[i]; i++)
    good = (!*lines[i] && !lines[i + 1]) || parse_line(lines[i], retention);
  if (good)
    return TRUE;
  generation_retention_clear(retention);
  return doppel_error_set(
      error, DOPPEL_ERROR_HOSTILE,
      "the file \"keep\" beside the clone's store is damaged: where its host removes it, what is "
      "usual is kept");
}

gboolean
generation_retention_read(int directory, GenerationRetention *retention, GError **error)
{
  g_auto(Fd) fd = openat(directory, FILE_NAME, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  *retention = GENERATION_RETENTION_USUAL;
  if (fd < 0)
    return errno == ENOENT || doppel_error_errno(error, "what is to be kept cannot be read");
  g_autofree char *text = g_malloc(FILE_MAX + 1);
  gssize length = io_read_all(fd, text, FILE_MAX);
  if (length < 0)
    return doppel_error_errno(error, "what is to be kept cannot be read");
  text[length] = '\0';
  return generation_retention_parse(text, retention, error);
}

gboolean
generation_retention_write(int directory, const GenerationRetention *retention, GError **error)
{
  g_autofree char *text = generation_retention_format(retention);
  g_auto(Fd) fd = openat(directory, FILE_DRAFT, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
  return (fd >= 0 && io_write_all(fd, text, strlen(text)) && fsync(fd) == 0 &&
          renameat(directory, FILE_DRAFT, directory, FILE_NAME) == 0 && fsync(directory) == 0) ||
         doppel_error_errno(error, "what is to be kept cannot be written down");
}
