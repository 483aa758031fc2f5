#include "page_rig.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

char *
rig_directory_make(void)
{
  char *directory = g_dir_make_tmp("doppel-pages-XXXXXX", NULL);
  g_assert_nonnull(directory);
  return directory;
}

void
rig_directory_remove(char *directory)
{
  g_autoptr(GDir) dir = g_dir_open(directory, 0, NULL);
  for (const char *name; dir && (name = g_dir_read_name(dir));) {
    g_autofree char *path = g_build_filename(directory, name, NULL);
    if (g_file_test(path, G_FILE_TEST_IS_DIR) && !g_file_test(path, G_FILE_TEST_IS_SYMLINK))
      rig_directory_remove(g_steal_pointer(&path));
    else
      unlink(path);
  }
  rmdir(directory);
  g_free(directory);
}

void
rig_page(guint64 number, guint8 page[static COPIES_PAGE], PageKey *key)
{
  g_autoptr(GRand) random = g_rand_new_with_seed(number);
  memset(page, 0, COPIES_PAGE);
  for (gsize at = 0; at < COPIES_PAGE; at += 64)
    memcpy(page + at, &(guint32){g_rand_int(random)}, sizeof(guint32));
  memcpy(page + 8, &number, sizeof number);
  if (key)
    page_key(page, key);
}

char *
rig_read(const char *path, gsize *length)
{
  char *bytes;
  g_assert_true(g_file_get_contents(path, &bytes, length, NULL));
  return bytes;
}

/* In place: who has it open sees it. */
void
rig_write(const char *path, const char *bytes, gsize length)
{
  FILE *file = fopen(path, "w");
  g_assert_nonnull(file);
  g_assert_cmpuint(fwrite(bytes, 1, length, file), ==, length);
  g_assert_cmpint(fclose(file), ==, 0);
}

static void
fill_garbage(char *bytes, gsize length)
{
  for (gsize i = 0; i < length; i++)
    bytes[i] = g_test_rand_int();
}

void
rig_damage(const char *path, void (*check)(gpointer user), gpointer user)
{
  gsize length;
  g_autofree char *whole = rig_read(path, &length);
  g_autofree char *bytes = g_malloc(length + 100);
  for (gsize cut = 0; cut < length; cut += cut < 200 ? 1 : 1 + length / 100) {
    rig_write(path, whole, cut);
    check(user);
  }
  for (guint turn = 0; turn < 500; turn++) {
    memcpy(bytes, whole, length);
    gsize reach = turn % 2 ? length : MIN(length, 100);
    for (guint flips = 1 + turn % 3; flips > 0; flips--)
      bytes[g_test_rand_int_range(0, reach)] ^= 1 << g_test_rand_int_range(0, 8);
    if (memcmp(bytes, whole, length) == 0)
      continue; /* flipped back */
    rig_write(path, bytes, length);
    check(user);
  }
  memcpy(bytes, whole, length);
  fill_garbage(bytes + length, 100);
  rig_write(path, bytes, length + 100);
  check(user);
  fill_garbage(bytes, length);
  rig_write(path, bytes, length);
  check(user);
  rig_write(path, whole, length);
}

double
rig_ms_since(gint64 began_ns)
{
  return (clock_now_ns() - began_ns) / 1e6;
}
