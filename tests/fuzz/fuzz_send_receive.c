/* A clone that receives files from another that says what it likes, over several conversations: offers that
 * are true or not, content that is whole, too long, cut off, or another. What is kept is what was offered,
 * byte by byte, and limits hold. */
#include <glib/gstdio.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "c2c/send_message.h"
#include "c2c/send_receive.h"
#include "c2c/service_message.h"
#include "people.h"

#define CONVERSATIONS 4
#define CONTENT_MAX   3000u
#define LIMIT         4000u
#define ITEMS         3u

typedef struct {
  SendBox *box;
  Input input;
} World;

static void
demand(gboolean holds)
{
  if (!holds)
    __builtin_trap();
}

/* What the file of that number is made of. */
static void
fill(guint8 *content, guint number)
{
  for (guint i = 0; i < CONTENT_MAX; i++)
    content[i] = (guint8)(i * (number + 3) + number);
}

static void
say(int fd, Doppel__Send__Message__WhatCase which, void *message)
{
  send_message_put(fd, which, message, NULL);
}

static void
offer(World *world, int fd, guint number, gsize size)
{
  static const char *const names[] = {"a", "b.txt", "../etc/passwd", "", "\x01\x02", "a"};
  guint8 content[CONTENT_MAX], hash[SEND_HASH], item[SEND_ITEM] = {0};
  Input *input = &world->input;
  Doppel__Send__Offer message = DOPPEL__SEND__OFFER__INIT;
  fill(content, number);
  crypto_generichash(hash, sizeof hash, content, size, NULL, 0);
  item[0] = number;
  message.item = (ProtobufCBinaryData){sizeof item, item};
  message.name = (char *)names[input_below(input, G_N_ELEMENTS(names))];
  message.size = input_below(input, 8) ? size : input_number(input, 8);
  message.hash = (ProtobufCBinaryData){sizeof hash, hash};
  message.mode = input_number(input, 2);
  if (input_below(input, 16) == 0)
    hash[3] ^= 1;
  say(fd, DOPPEL__SEND__MESSAGE__WHAT_OFFER, &message);
}

static void
say_content(World *world, int fd, guint number, gsize size)
{
  guint8 content[CONTENT_MAX];
  Input *input = &world->input;
  gsize from = input_below(input, 4) ? 0 : input_number(input, 2) % (size + 1);
  fill(content, number);
  if (input_below(input, 8) == 0)
    content[input_number(input, 2) % CONTENT_MAX] ^= 1;
  while (from < size) {
    Doppel__Send__Chunk chunk = DOPPEL__SEND__CHUNK__INIT;
    gsize length = 100 + 16 * input_number(input, 1);
    length = MIN(size - from, length);
    chunk.data = (ProtobufCBinaryData){length, content + from};
    say(fd, DOPPEL__SEND__MESSAGE__WHAT_CHUNK, &chunk);
    from += length;
    if (input_below(input, 16) == 15)
      return;
  }
}

static void
say_bytes(World *world, int fd)
{
  gsize length;
  const guint8 *bytes = input_blob(&world->input, &length);
  guint32 prefix = GUINT32_TO_BE((guint32)length + (input_below(&world->input, 8) == 7));
  send(fd, &prefix, sizeof prefix, MSG_DONTWAIT | MSG_NOSIGNAL);
  send(fd, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* All that the other end says, before anybody listens. */
static void
talk(World *world, int fd)
{
  guint number = input_below(&world->input, 4);
  gsize size = input_number(&world->input, 2) % (CONTENT_MAX + 1);
  if (input_below(&world->input, 8) == 0)
    say_bytes(world, fd);
  offer(world, fd, number, size);
  if (input_below(&world->input, 8) == 0)
    say_bytes(world, fd);
  say_content(world, fd, number, size);
  shutdown(fd, SHUT_WR);
}

/* It is kept: its file has what its hash says. */
static gboolean
on_kept(SendReception *reception, const SendItem *item, GError **error)
{
  World *world = reception->data;
  guint8 hash[SEND_HASH];
  guint8 bytes[LIMIT + 1];
  g_auto(Fd) file = send_box_content(world->box, item->id, NULL);
  gssize length = pread(file, bytes, sizeof bytes, 0);
  demand(length >= 0 && (guint64)length == item->size);
  crypto_generichash(hash, sizeof hash, bytes, length, NULL, 0);
  demand(memcmp(hash, item->hash, sizeof hash) == 0 && item->name[0] && !strchr(item->name, '/'));
  Doppel__Send__Kept kept = DOPPEL__SEND__KEPT__INIT;
  kept.id = item->id;
  return send_message_put(reception->fd, DOPPEL__SEND__MESSAGE__WHAT_KEPT, &kept, error);
}

static void
converse(World *world)
{
  int ends[2];
  demand(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  talk(world, ends[1]);
  SendReception reception = {
      .fd = ends[0], .box = world->box, .who = "who", .user = "alice", .limits = SEND_BOX_LIMITS};
  reception.limits.each = LIMIT;
  reception.limits.items = ITEMS;
  reception.answer = on_kept;
  reception.data = world;
  g_autoptr(SendMessage) message = NULL;
  while ((message = send_message_receive(ends[0], NULL)) &&
         message->what_case == DOPPEL__SEND__MESSAGE__WHAT_OFFER &&
         send_receive(&reception, message->offer, NULL))
    g_clear_pointer(&message, send_message_free);
  close(ends[0]);
  close(ends[1]);
}

/* What waits of one sender is within their limits, and nothing else is in the box's directory. */
static void
check_box(World *world)
{
  g_autoptr(GPtrArray) items = send_box_list(world->box, DOPPEL__SEND__STATE__ANY, NULL);
  guint64 together = 0;
  demand(items && items->len <= ITEMS);
  for (guint i = 0; i < items->len; i++)
    together += ((const SendItem *)items->pdata[i])->size;
  demand(together <= LIMIT);
}

/* A box has one floor of directories in it. */
static void
remove_below(const char *path)
{
  g_autoptr(GDir) listing = g_dir_open(path, 0, NULL);
  for (const char *name; listing && (name = g_dir_read_name(listing));) {
    g_autofree char *below = g_build_filename(path, name, NULL);
    if (g_unlink(below) < 0)
      remove_below(below);
  }
  g_rmdir(path);
}

static char *directory;

static void
remove_directory(void)
{
  g_autofree char *command = g_strdup_printf("rm -rf '%s'", directory);
  if (system(command) != 0)
    abort();
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
  people_files_in_memory();
  /* What it makes durable would keep a disk busy. */
  directory = g_mkdtemp(g_strdup("/dev/shm/doppel-fuzz-XXXXXX"));
  demand(directory != NULL);
  atexit(remove_directory);
  return 0;
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize length)
{
  static guint number;
  World world = {.input = {data, length}};
  g_autofree char *name = g_strdup_printf("%u", ++number);
  g_autofree char *box = g_build_filename(directory, name, NULL);
  world.box = send_box_open(box, TRUE, NULL);
  demand(world.box != NULL);
  for (guint i = 0; i < CONVERSATIONS && world.input.left > 0; i++)
    converse(&world);
  check_box(&world);
  send_box_close(world.box);
  remove_below(box);
  return 0;
}
