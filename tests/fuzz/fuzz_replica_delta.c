/* What a clone sends to a device, and a device to a clone, about files. The first byte says to which decoder
 * the rest goes; messages of a stream are cut by 2-byte lengths. The delta of a hostile clone is really
 * applied, to a small tree, beside which nothing may change. */
#include <dirent.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "replica/apply.h"
#include "replica/message.h"
#include "replica/pack.h"
#include "replica/pull.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct {
  const uint8_t *data;
  size_t size;
} Stream;

/* The next message of the stream, NULL at the end. */
static GBytes *
next_message(gpointer user_data, GError **error)
{
  Stream *stream = user_data;
  if (stream->size < 2)
    return NULL;
  size_t length = MIN((size_t)(stream->data[0] << 8 | stream->data[1]), stream->size - 2);
  GBytes *message = g_bytes_new(stream->data + 2, length);
  stream->data += 2 + length;
  stream->size -= 2 + length;
  return message;
}

typedef struct {
  char *base;
  int root, state, outside;
} World;

static World world;

static void
put(const char *name, const char *text)
{
  int fd = openat(world.root, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
  if (fd >= 0 && !io_write_all(fd, text, strlen(text)))
    abort();
  io_close(&fd);
}

static void
remove_world(void)
{
  g_autofree char *command = g_strdup_printf("rm -rf '%s'", world.base);
  if (system(command) != 0)
    abort();
}

static int
make_directory(const char *name)
{
  g_autofree char *path = g_build_filename(world.base, name, NULL);
  if (g_mkdir(path, 0700) < 0)
    abort();
  return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void
make_world(void)
{
  if (world.base)
    return;
  world.base = g_dir_make_tmp("doppel-fuzz-XXXXXX", NULL);
  world.root = make_directory("root");
  world.state = make_directory("state");
  world.outside = make_directory("outside");
  atexit(remove_world);
}

/* Takes `fd`. */
static void
remove_below(int fd)
{
  DIR *listing = fdopendir(fd);
  for (struct dirent *entry; (entry = readdir(listing));) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
        unlinkat(fd, entry->d_name, 0) == 0)
      continue;
    int below = openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (below >= 0)
      remove_below(below);
    unlinkat(fd, entry->d_name, AT_REMOVEDIR);
  }
  closedir(listing);
}

static void
fill_root(void)
{
  put("a", "some content");
  mkdirat(world.root, "d", 0755);
  put("d/f", "more");
  if (symlinkat("../outside", world.root, "l") == 0) {
    /* Known times, so that a delta of the corpus finds what it says was there. */
    static const char *const names[] = {"a", "d/f", "d", "l", "."};
    struct timespec times[2] = {{.tv_sec = 1000, .tv_nsec = 5}, {.tv_sec = 1000, .tv_nsec = 5}};
    for (guint i = 0; i < G_N_ELEMENTS(names); i++)
      utimensat(world.root, names[i], times, AT_SYMLINK_NOFOLLOW);
  }
}

/* Whatever the last delta made of it. */
static void
empty_root(void)
{
  int fd = openat(world.root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  remove_below(fd);
}

static gboolean
take_piece(const ReplicaPiece *piece, gpointer unused, GError **error)
{
  return TRUE;
}

static void
fuzz_unpack(Stream *stream)
{
  g_autoptr(ReplicaUnpacker) unpacker = replica_unpacker_new(take_piece, NULL);
  for (GBytes *message; (message = next_message(stream, NULL));) {
    gsize length;
    const guint8 *bytes = g_bytes_get_data(message, &length);
    gboolean good = replica_unpacker_push(unpacker, bytes, length, NULL);
    g_bytes_unref(message);
    if (!good)
      return;
  }
}

static void
fuzz_apply(Stream *stream)
{
  make_world();
  empty_root();
  fill_root();
  replica_apply(world.root, world.state, next_message, stream, NULL, NULL, NULL);
  if (!replica_recover(world.root, world.state, NULL))
    abort();
  g_autofree char *path = g_build_filename(world.base, "outside", NULL);
  g_autoptr(GDir) outside = g_dir_open(path, 0, NULL);
  g_autofree char *state_path = g_build_filename(world.base, "state", NULL);
  g_autoptr(GDir) state = g_dir_open(state_path, 0, NULL);
  if (g_dir_read_name(outside) || g_dir_read_name(state))
    abort();
}

static void
fuzz_facts(Stream *stream)
{
  g_auto(ReplicaFacts) facts = {0};
  int failure;
  replica_facts_unpack(stream->data, stream->size, &facts, &failure, NULL);
}

static void
fuzz_request(Stream *stream)
{
  make_world();
  fill_root();
  g_autoptr(ReplicaSend) send = replica_send_new(world.root, stream->data, stream->size, NULL);
  for (GBytes *message; send && (message = replica_send_next(send, NULL));)
    g_bytes_unref(message);
}

typedef void (*Decoder)(Stream *stream);
static const Decoder decoders[] = {fuzz_unpack, fuzz_apply, fuzz_facts, fuzz_request};

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  if (size < 1)
    return 0;
  Stream stream = {.data = data + 1, .size = size - 1};
  decoders[data[0] % G_N_ELEMENTS(decoders)](&stream);
  return 0;
}
