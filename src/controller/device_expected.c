#include "controller/device_expected.h"

#include <fcntl.h>
#include <string.h>

#include "base/io.h"
#include "identity/key.h"
#include "replica/path.h"

#define HEAD      "doppel paths 1\n"
#define BYTES_MAX (256u << 10)

static char *
file_of(const char *clone, const char *program)
{
  g_autofree char *state = identity_directory();
  g_autofree char *key = g_strdup_printf("%s\n%s", clone, program);
  g_autofree char *name = g_compute_checksum_for_string(G_CHECKSUM_SHA256, key, -1);
  return g_build_filename(state, "told", name, NULL);
}

static gboolean
is_path(const char *path)
{
  return strcmp(path, "/") == 0 || (*path == '/' && replica_path_valid(path + 1, strlen(path + 1)));
}

static gboolean
read_file(const char *path, char **text, gsize *length)
{
  g_auto(Fd) fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  *text = g_malloc(BYTES_MAX + 1);
  gssize got = fd < 0 ? -1 : io_read_all(fd, *text, BYTES_MAX);
  *length = MAX(got, 0);
  (*text)[*length] = '\0';
  return g_str_has_prefix(*text, HEAD);
}

GPtrArray *
device_expected_tell(const char *clone, const char *program, DeviceTold *told)
{
  GPtrArray *tellings = g_ptr_array_new();
  g_autofree char *path = file_of(clone, program);
  g_autofree char *text = NULL;
  gsize length;
  if (!read_file(path, &text, &length))
    return tellings;
  for (const char *at = text + strlen(HEAD); at < text + length && tellings->len < DEVICE_EXPECTED_MAX;
       at += strlen(at) + 1) {
    gboolean news;
    if ((*at != '+' && *at != '-') || !is_path(at + 1))
      break;
    const DeviceTelling *telling = device_told_read(told, at + 1, *at == '+', TRUE, &news);
    if (telling && news) {
      g_ptr_array_add(tellings, (gpointer)telling);
      ((DeviceTelling *)telling)->expected = *at;
    }
  }
  return tellings;
}

/* Those that were expected and not asked about are kept as well: nobody asks about what was told. */
void
device_expected_keep(const char *clone, const char *program, const DeviceTold *told)
{
  const GPtrArray *all = device_told_all(told);
  g_autoptr(GString) text = g_string_new(HEAD);
  g_autofree char *path = file_of(clone, program);
  g_autofree char *directory = g_path_get_dirname(path);
  guint count = 0;
  gboolean news = FALSE;
  for (guint i = 0;
       i < all->len && count < DEVICE_EXPECTED_MAX && text->len < BYTES_MAX - REPLICA_PATH_MAX - 2; i++) {
    const DeviceTelling *telling = all->pdata[i];
    if (!telling->asked)
      continue;
    char kind = telling->content ? '+' : '-';
    news |= telling->expected != kind;
    g_string_append_c(text, kind);
    g_string_append_len(text, telling->path, strlen(telling->path) + 1);
    count++;
  }
  if (news && g_mkdir_with_parents(directory, 0700) == 0)
    g_file_set_contents_full(path, text->str, text->len, G_FILE_SET_CONTENTS_CONSISTENT, 0600, NULL);
}
