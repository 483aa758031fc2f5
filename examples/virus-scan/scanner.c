#include "scanner.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

/* What one file may grow to when all containers in it are opened, in bytes: some are made to fill memory. */
#define UNPACKED_MAX (1024UL << 20)

/* A file while it is looked at. */
typedef struct {
  Scanner *scanner;
  gsize unpacked;
  gboolean infected;
} File;

static void scan_object(File *file, const char *name, const guint8 *data, gsize size, int depth);

G_GNUC_PRINTF(2, 3)
static void
complain(Scanner *scanner, const char *format, ...)
{
  va_list words;
  va_start(words, format);
  g_autofree char *message = g_strdup_vprintf(format, words);
  va_end(words);
  g_printerr("virus-scan: %s\n", message);
  scanner->summary.errors++;
}

static void
skip(Scanner *scanner, const char *name, const char *why)
{
  g_printerr("%s: skipped, %s\n", name, why);
  scanner->summary.skipped++;
}

static gboolean
hash_is(const Signature *signature, const guint8 *data, gsize size, char **hash)
{
  if (!signature->sha256)
    return FALSE;
  if (!*hash)
    *hash = g_compute_checksum_for_data(G_CHECKSUM_SHA256, data, size);
  return strcmp(signature->sha256, *hash) == 0;
}

static void
look_for_signatures(File *file, const char *name, const guint8 *data, gsize size)
{
  Scanner *scanner = file->scanner;
  guint n = scanner->signatures->len;
  g_autofree gboolean *found = g_new0(gboolean, n);
  g_autofree char *hash = NULL;
  gboolean clean = TRUE;
  matcher_scan(scanner->matcher, data, size, found);
  for (guint i = 0; i < n; i++) {
    const Signature *signature = g_ptr_array_index(scanner->signatures, i);
    if (!found[i] && !hash_is(signature, data, size, &hash))
      continue;
    g_print("%s: %s FOUND\n", name, signature->name);
    clean = FALSE;
  }
  if (clean && scanner->options.verbose)
    g_print("%s: OK\n", name);
  file->infected = file->infected || !clean;
  scanner->summary.bytes += size;
}

/* A member's content. NULL where it is too large or cannot be read, which was said then. */
static GByteArray *
read_member(File *file, struct archive *archive, const char *name)
{
  g_autoptr(GByteArray) content = g_byte_array_new();
  guint8 block[65536];
  la_ssize_t got;
  while ((got = archive_read_data(archive, block, sizeof block)) > 0) {
    if (content->len + (gsize)got > file->scanner->options.max_size) {
      skip(file->scanner, name, "too large");
      return NULL;
    }
    file->unpacked += (gsize)got;
    if (file->unpacked > UNPACKED_MAX) {
      skip(file->scanner, name, "what this file contains is too large");
      return NULL;
    }
    g_byte_array_append(content, block, (guint)got);
  }
  if (got == 0)
    return g_steal_pointer(&content);
  skip(file->scanner, name, archive_error_string(archive));
  return NULL;
}

static gboolean
is_member(int status)
{
  return status == ARCHIVE_OK || status == ARCHIVE_WARN;
}

static int
open_first(struct archive *archive, const guint8 *data, gsize size, struct archive_entry **entry)
{
  int status = archive_read_open_memory(archive, data, size);
  return status == ARCHIVE_OK ? archive_read_next_header(archive, entry) : status;
}

/* Goes to the next member, over what cannot be understood; `damaged` is set where there is such. */
static gboolean
next_member(struct archive *archive, struct archive_entry **entry, gboolean *damaged)
{
  int status;
  while ((status = archive_read_next_header(archive, entry)) == ARCHIVE_RETRY)
    *damaged = TRUE;
  *damaged = *damaged || status < ARCHIVE_WARN;
  return is_member(status);
}

/* What is compressed has one member, its content, which may be a container again. `damaged` is set where it
 * is compressed and nothing of it can be read. */
static struct archive *
open_compressed(const guint8 *data, gsize size, struct archive_entry **entry, gboolean *damaged)
{
  struct archive *archive = archive_read_new();
  archive_read_support_filter_gzip(archive);
  archive_read_support_filter_bzip2(archive);
  archive_read_support_filter_xz(archive);
  archive_read_support_filter_zstd(archive);
  archive_read_support_format_raw(archive);
  archive_read_support_format_empty(archive);
  int status = open_first(archive, data, size, entry);
  /* One filter is there always: the memory, which can be read. */
  if (is_member(status) && archive_filter_count(archive) > 1)
    return archive;
  *damaged = !is_member(status) && status != ARCHIVE_EOF;
  archive_read_free(archive);
  return NULL;
}

static struct archive *
open_archive(const guint8 *data, gsize size, struct archive_entry **entry)
{
  struct archive *archive = archive_read_new();
  archive_read_support_format_tar(archive);
  archive_read_support_format_zip(archive);
  archive_read_support_format_cpio(archive);
  archive_read_support_format_ar(archive);
  if (is_member(open_first(archive, data, size, entry)))
    return archive;
  archive_read_free(archive);
  return NULL;
}

static void
scan_container(File *file, const char *name, const guint8 *data, gsize size, int depth)
{
  struct archive_entry *entry;
  gboolean damaged = FALSE;
  struct archive *archive = open_compressed(data, size, &entry, &damaged);
  if (!archive && !damaged)
    archive = open_archive(data, size, &entry);
  if (damaged)
    skip(file->scanner, name, "what is compressed in it is damaged");
  if (!archive)
    return;
  do {
    const char *path = archive_entry_pathname(entry);
    g_autofree char *member = g_strdup_printf("%s!%s", name, path ? path : "?");
    if (archive_entry_filetype(entry) != AE_IFREG)
      continue;
    g_autoptr(GByteArray) content = read_member(file, archive, member);
    if (content) {
      file->scanner->summary.members++;
      scan_object(file, member, content->data, content->len, depth + 1);
    }
  } while (file->unpacked <= UNPACKED_MAX && next_member(archive, &entry, &damaged));
  if (damaged)
    skip(file->scanner, name, "some of this container is damaged");
  archive_read_free(archive);
}

static void
scan_object(File *file, const char *name, const guint8 *data, gsize size, int depth)
{
  look_for_signatures(file, name, data, size);
  if (depth < file->scanner->options.max_depth && size > 0)
    scan_container(file, name, data, size, depth);
}

static void
scan_file(Scanner *scanner, const char *path, const struct stat *status)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *data = NULL;
  gsize size;
  if ((guint64)status->st_size > scanner->options.max_size) {
    skip(scanner, path, "too large");
    return;
  }
  if (!g_file_get_contents(path, &data, &size, &error)) {
    complain(scanner, "%s", error->message);
    return;
  }
  File file = {.scanner = scanner};
  scan_object(&file, path, (const guint8 *)data, size, 0);
  scanner->summary.files++;
  scanner->summary.infected += file.infected;
}

static int
by_name(gconstpointer a, gconstpointer b)
{
  return strcmp(*(char *const *)a, *(char *const *)b);
}

/* What is in a directory, sorted. */
static GPtrArray *
list_directory(const char *path, GError **error)
{
  g_autoptr(GDir) dir = g_dir_open(path, 0, error);
  const char *name;
  if (!dir)
    return NULL;
  GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
  while ((name = g_dir_read_name(dir)))
    g_ptr_array_add(names, g_strdup(name));
  g_ptr_array_sort(names, by_name);
  return names;
}

static void
scan_directory(Scanner *scanner, const char *path)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GPtrArray) names = list_directory(path, &error);
  if (!names) {
    complain(scanner, "%s", error->message);
    return;
  }
  scanner->summary.directories++;
  for (guint i = 0; i < names->len; i++) {
    g_autofree char *inside = g_build_filename(path, g_ptr_array_index(names, i), NULL);
    struct stat status;
    if (lstat(inside, &status) < 0)
      complain(scanner, "%s: %s", inside, g_strerror(errno));
    else if (S_ISDIR(status.st_mode))
      scan_directory(scanner, inside);
    else if (S_ISREG(status.st_mode))
      scan_file(scanner, inside, &status);
  }
}

void
scan_path(Scanner *scanner, const char *path)
{
  struct stat status;
  if (stat(path, &status) < 0)
    complain(scanner, "%s: %s", path, g_strerror(errno));
  else if (S_ISDIR(status.st_mode))
    scan_directory(scanner, path);
  else if (S_ISREG(status.st_mode))
    scan_file(scanner, path, &status);
  else
    complain(scanner, "%s: neither a file nor a directory", path);
}
