#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "mirror/copies.h"
#include "mirror/page_file.h"
#include "mirror/page_forecast_parts.h"

#define SUFFIX     ".forecast"
#define NUMBER_END (G_MAXUINT64 / COPIES_PAGE + 1) /* of the address space, in pages */

enum { NAME_SIZE = 16, KIND_BYTES_MAX = 2 << 20 };

static const PageFileKind kind = {"doppelPF", 1, KIND_BYTES_MAX};

/* ---- numbers ---- */

static void
put_number(GByteArray *into, guint64 number)
{
  guint8 bytes[10];
  guint length = 0;
  for (; number >= 0x80; number >>= 7)
    bytes[length++] = 0x80 | (number & 0x7f);
  bytes[length++] = number;
  g_byte_array_append(into, bytes, length);
}

typedef struct {
  const guint8 *at, *end;
} Reader;

static gboolean
get_number(Reader *reader, guint64 max, guint64 *number)
{
  *number = 0;
  for (guint shift = 0; reader->at < reader->end && shift < 63; shift += 7) {
    guint8 byte = *reader->at++;
    *number |= (guint64)(byte & 0x7f) << shift;
    if (!(byte & 0x80))
      return *number <= max;
  }
  return FALSE;
}

/* ---- what a file holds ---- */

static gboolean
unpack_experience(PageForecast *forecast, Reader *reader)
{
  guint64 histories, history, touched, missed;
  if (!get_number(reader, FORECAST_HISTORIES, &histories))
    return FALSE;
  for (; histories > 0; histories--) {
    if (!get_number(reader, FORECAST_HISTORIES - 1, &history) ||
        !get_number(reader, FORECAST_COUNT_MAX, &touched) || !get_number(reader, FORECAST_COUNT_MAX, &missed))
      return FALSE;
    forecast->experience[history] = (ForecastExperience){touched, missed};
  }
  return TRUE;
}

static gboolean
unpack_run(PageForecast *forecast, Reader *reader, guint64 *next)
{
  guint64 gap, pages, history;
  if (!get_number(reader, NUMBER_END - *next, &gap) ||
      !get_number(reader, PAGE_FORECAST_PAGES - forecast->count, &pages) ||
      !get_number(reader, FORECAST_HISTORIES - 1, &history) || history < 2 || history == FORECAST_NEVER ||
      !pages || pages > NUMBER_END - *next - gap)
    return FALSE;
  for (*next += gap; pages > 0; pages--)
    page_forecast_insert(forecast, (*next)++, history);
  return TRUE;
}

gboolean
page_forecast_unpack(PageForecast *forecast, const guint8 *bytes, gsize length)
{
  Reader reader = {bytes, bytes + length};
  guint64 next = 0;
  if (!get_number(&reader, PAGE_FORECAST_PAGES * FORECAST_CREDIT, &forecast->credit) ||
      !get_number(&reader, PAGE_FORECAST_PAGES, &forecast->largest) || !unpack_experience(forecast, &reader))
    return FALSE;
  while (reader.at < reader.end)
    if (!unpack_run(forecast, &reader, &next))
      return FALSE;
  page_forecast_judge(forecast);
  return TRUE;
}

static void
pack_experience(const PageForecast *forecast, GByteArray *into)
{
  guint histories = 0;
  for (guint i = 0; i < FORECAST_HISTORIES; i++)
    histories += forecast->experience[i].touched || forecast->experience[i].missed;
  put_number(into, histories);
  for (guint i = 0; i < FORECAST_HISTORIES; i++) {
    const ForecastExperience *experience = &forecast->experience[i];
    if (!experience->touched && !experience->missed)
      continue;
    put_number(into, i);
    put_number(into, experience->touched);
    put_number(into, experience->missed);
  }
}

static int
by_number(const void *a, const void *b)
{
  const ForecastPage *first = a, *second = b;
  return first->number < second->number ? -1 : first->number > second->number;
}

void
page_forecast_pack(const PageForecast *forecast, GByteArray *into)
{
  g_autofree ForecastPage *pages = g_new(ForecastPage, forecast->count + 1);
  guint count = 0;
  guint64 next = 0;
  for (gsize i = 0; i < (gsize)1 << forecast->bits; i++)
    if (forecast->pages[i].history > 1)
      pages[count++] = forecast->pages[i];
  qsort(pages, count, sizeof *pages, by_number);
  put_number(into, forecast->credit);
  put_number(into, forecast->largest);
  pack_experience(forecast, into);
  for (guint i = 0, run; i < count; i += run) {
    for (run = 1; i + run < count && pages[i + run].number == pages[i].number + run &&
                  pages[i + run].history == pages[i].history;
         run++)
      ;
    put_number(into, pages[i].number - next);
    put_number(into, run);
    put_number(into, pages[i].history);
    next = pages[i].number + run;
  }
}

/* ---- files ---- */

static char *
path_of(const char *directory, const char *key)
{
  guint8 hash[NAME_SIZE];
  char hex[2 * NAME_SIZE + 1];
  crypto_generichash(hash, sizeof hash, (const guint8 *)key, strlen(key), NULL, 0);
  sodium_bin2hex(hex, sizeof hex, hash, sizeof hash);
  return g_strconcat(directory, "/", hex, SUFFIX, NULL);
}

PageForecast *
page_forecast_load(const char *directory, const char *key)
{
  gsize length;
  g_autofree char *path = path_of(directory, key);
  g_autoptr(GBytes) bytes = page_file_load(path, &kind);
  const guint8 *data = bytes ? g_bytes_get_data(bytes, &length) : NULL;
  PageForecast *forecast = page_forecast_new();
  if (data && !page_forecast_unpack(forecast, data, length)) {
    page_forecast_free(forecast);
    forecast = page_forecast_new();
  }
  forecast->path = g_steal_pointer(&path);
  return forecast;
}

typedef struct {
  gint64 when_ns;
  char *name;
} Saved;

static int
by_age(gconstpointer a, gconstpointer b)
{
  gint64 first = ((const Saved *)a)->when_ns, second = ((const Saved *)b)->when_ns;
  return first < second ? -1 : first > second;
}

static void
clear_saved(gpointer saved)
{
  g_free(((Saved *)saved)->name);
}

/* With the directory's lock held. */
static void
remove_oldest(int directory, const char *path)
{
  g_autoptr(GArray) files = g_array_new(FALSE, FALSE, sizeof(Saved));
  g_autofree char *name = g_path_get_dirname(path);
  g_autoptr(GDir) dir = g_dir_open(name, 0, NULL);
  struct stat status;
  g_array_set_clear_func(files, clear_saved);
  for (const char *entry; dir && (entry = g_dir_read_name(dir));) {
    if (!g_str_has_suffix(entry, SUFFIX) || fstatat(directory, entry, &status, AT_SYMLINK_NOFOLLOW) < 0)
      continue;
    Saved saved = {status.st_mtim.tv_sec * 1000000000LL + status.st_mtim.tv_nsec, g_strdup(entry)};
    g_array_append_val(files, saved);
  }
  g_array_sort(files, by_age);
  for (guint i = 0; i + PAGE_FORECAST_FILES < files->len; i++)
    unlinkat(directory, g_array_index(files, Saved, i).name, 0);
}

gboolean
page_forecast_save(PageForecast *forecast, GError **error)
{
  g_autoptr(GByteArray) bytes = g_byte_array_new();
  if (!forecast->changed || !forecast->path)
    return TRUE;
  g_auto(Fd) directory = page_file_lock(forecast->path, error);
  if (directory < 0)
    return FALSE;
  gboolean is_new = access(forecast->path, F_OK) < 0;
  page_forecast_pack(forecast, bytes);
  if (!page_file_save(forecast->path, &kind, bytes->data, bytes->len, error))
    return FALSE;
  if (is_new)
    remove_oldest(directory, forecast->path);
  forecast->changed = FALSE;
  return TRUE;
}
