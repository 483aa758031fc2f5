/* A clone that delivers what is in its outbox to another that answers what it likes: wants it from anywhere,
 * refuses, says bytes that are none, gives receipts that are true, or true but for something. An item is
 * delivered only where a receipt for it says so that the other clone has signed, and whatever was said, its
 * owner's device can still be told how all of them stand. */
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "base/line.h"
#include "c2c/send_deliver.h"
#include "c2c/send_outbox.h"
#include "c2c/send_receipt.h"
#include "c2c/service_message.h"
#include "people.h"
#include "record_world.h"

#define USER        "alice"
#define ITEMS       3u
#define CONTENT_MAX 3000u
#define TURNS       3u

enum { OWN_KEYS = 1, THEIR_KEYS = 2, OTHER_KEYS = 3 };

typedef struct {
  SendBox *box;
  gboolean proved[ITEMS]; /* a right receipt for it was said */
  int end;                /* the other end of the stream that was dialled last; -1: none */
  Input input;
} World;
static World world;

static void
demand(gboolean holds)
{
  if (!holds)
    __builtin_trap();
}

static const IdentityKey *
key_of(guint number)
{
  static IdentityKey *keys[OTHER_KEYS + 1];
  if (!keys[number])
    keys[number] = world_key(number);
  return keys[number];
}

static char *
some_words(void)
{
  gsize length, most = input_below(&world.input, 8) ? 40 : 1200;
  const guint8 *bytes = input_bytes(&world.input, input_number(&world.input, 2) % most, &length);
  return g_strndup((const char *)bytes, length);
}

/* Why somebody else's clone takes no stream: the node makes it a line. */
static char *
some_refusal(void)
{
  gsize length;
  const guint8 *bytes = input_bytes(&world.input, input_number(&world.input, 1), &length);
  g_autofree char *words = g_strndup((const char *)bytes, length);
  return line_of(words, SEND_WORDS_MAX);
}

static void
say_bytes(int fd)
{
  gsize length;
  const guint8 *bytes = input_bytes(&world.input, input_number(&world.input, 2) % 4096, &length);
  guint32 prefix = GUINT32_TO_BE((guint32)length + (input_below(&world.input, 8) == 7));
  send(fd, &prefix, sizeof prefix, MSG_DONTWAIT | MSG_NOSIGNAL);
  send(fd, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void
say_wanted(int fd, guint64 size)
{
  Doppel__Send__Wanted wanted = DOPPEL__SEND__WANTED__INIT;
  guint what = input_below(&world.input, 8);
  wanted.offset = what < 5 ? 0 : what == 5 ? size : what == 6 ? size / 2 : input_number(&world.input, 7);
  send_message_put(fd, DOPPEL__SEND__MESSAGE__WHAT_WANTED, &wanted, NULL);
}

/* What a clone that tells the truth would sign, but for what the input changes. */
static GBytes *
some_statement(const SendItem *item)
{
  static const IdentityPublic nobody;
  Input *input = &world.input;
  SendItem said = *item;
  g_autofree char *words = some_words();
  guint change = input_below(input, 16);
  said.name = input_below(input, 4) ? item->name : words;
  said.changed_us = (gint64)input_number(input, 4);
  said.item[0] ^= change == 5;
  said.hash[31] ^= change == 1;
  said.size ^= change == 2 ? input_number(input, 8) : 0;
  GBytes *statement =
      send_receipt_statement(&said, change == 3 ? &nobody : identity_key_public(key_of(OWN_KEYS)));
  if (change != 4)
    return statement;
  gsize length;
  guint8 *bytes = g_bytes_unref_to_data(statement, &length);
  bytes[input_number(input, 2) % length] ^= 1 << input_below(input, 8);
  return g_bytes_new_take(bytes, length);
}

static gboolean
is_about(GBytes *bytes, const SendItem *item)
{
  Doppel__Send__ReceiptStatement *statement =
      doppel__send__receipt_statement__unpack(NULL, g_bytes_get_size(bytes), g_bytes_get_data(bytes, NULL));
  gboolean about = statement && statement->item.len == SEND_ITEM && statement->hash.len == SEND_HASH &&
                   memcmp(statement->item.data, item->item, SEND_ITEM) == 0 &&
                   memcmp(statement->hash.data, item->hash, SEND_HASH) == 0 && statement->size == item->size;
  if (statement)
    doppel__send__receipt_statement__free_unpacked(statement, NULL);
  return about;
}

static void
say_receipt(int fd, const SendItem *item)
{
  static const guint8 domain[] = SERVICE_RECEIPT_DOMAIN;
  Input *input = &world.input;
  Doppel__Send__Receipt receipt = DOPPEL__SEND__RECEIPT__INIT;
  g_autoptr(GBytes) statement = some_statement(item);
  guint signer = input_below(input, 16) < 15 ? THEIR_KEYS : OTHER_KEYS, change = input_below(input, 16);
  const IdentityKey *claimed = key_of(change == 4 ? OTHER_KEYS + THEIR_KEYS - signer : signer);
  g_autoptr(GByteArray) bytes = g_byte_array_new();
  guint8 signature[IDENTITY_SIGNATURE_LENGTH];
  /* In another domain it would be another statement. */
  g_byte_array_append(bytes, domain, sizeof domain - (change == 1));
  g_byte_array_append(bytes, g_bytes_get_data(statement, NULL), g_bytes_get_size(statement));
  identity_sign(key_of(signer), bytes->data, bytes->len, signature);
  signature[10] ^= change == 2;
  receipt.statement.data = (guint8 *)g_bytes_get_data(statement, &receipt.statement.len);
  receipt.signature = (ProtobufCBinaryData){sizeof signature - (change == 3), signature};
  receipt.key = (ProtobufCBinaryData){IDENTITY_PUBLIC_LENGTH, (guint8 *)identity_key_public(claimed)->bytes};
  send_message_put(fd, DOPPEL__SEND__MESSAGE__WHAT_RECEIPT, &receipt, NULL);
  if (is_about(statement, item) && signer == THEIR_KEYS && (change == 0 || change > 4))
    world.proved[item->item[0]] = TRUE;
}

static void
say_something(int fd, const SendItem *item)
{
  Input *input = &world.input;
  Doppel__Send__Refused refused = DOPPEL__SEND__REFUSED__INIT;
  Doppel__Send__Kept kept = DOPPEL__SEND__KEPT__INIT;
  g_autofree char *words = some_words();
  switch (input_below(input, 8)) {
  case 3:
    say_bytes(fd);
    break;
  case 1:
    refused.why = input_below(input, 8);
    refused.words = words;
    send_message_put(fd, DOPPEL__SEND__MESSAGE__WHAT_REFUSED, &refused, NULL);
    break;
  case 2:
    kept.id = input_number(input, 8);
    send_message_put(fd, DOPPEL__SEND__MESSAGE__WHAT_KEPT, &kept, NULL);
    break;
  default:
    say_receipt(fd, item);
  }
}

/* All that it will say to the offers of these items, before any is made. */
static int
answer_all(GPtrArray *items)
{
  int ends[2];
  demand(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  for (guint i = 0; i < items->len && world.input.left > 0; i++) {
    const SendItem *item = items->pdata[i];
    if (input_below(&world.input, 4) < 3)
      say_wanted(ends[1], item->size);
    say_something(ends[1], item);
  }
  shutdown(ends[1], input_below(&world.input, 16) < 15 ? SHUT_WR : SHUT_RDWR);
  world.end = ends[1];
  return ends[0];
}

static int
dial(const ServicePlace *place, const char *user, const char *service, GError **error)
{
  demand(g_str_equal(user, USER) && g_str_equal(service, "send") && world.end < 0);
  g_autoptr(GPtrArray) items = send_box_list(world.box, DOPPEL__SEND__STATE__KEPT, NULL);
  guint what = input_below(&world.input, 16);
  if (what < 14)
    return answer_all(items);
  g_autofree char *words = some_refusal();
  g_set_error_literal(error, DOPPEL_ERROR, what == 14 ? DOPPEL_ERROR_GONE : DOPPEL_ERROR_DENIED, words);
  return -1;
}

static gboolean
clone_key(const ServicePlace *place, const char *user, IdentityPublic *key, GError **error)
{
  *key = *identity_key_public(key_of(THEIR_KEYS));
  return input_below(&world.input, 32) < 31 ||
         doppel_error_set(error, DOPPEL_ERROR_GONE, "no directory answers");
}

static const ServiceNode node = {.dial = dial, .clone_key = clone_key};

static void
fill(guint8 *content, Doppel__Send__Offer *offer, guint8 *item, guint8 *hash, guint number)
{
  *offer = (Doppel__Send__Offer)DOPPEL__SEND__OFFER__INIT;
  memset(item, 0, SEND_ITEM);
  item[0] = number;
  memset(content, 'a' + number, CONTENT_MAX);
  offer->item = (ProtobufCBinaryData){SEND_ITEM, item};
  offer->hash = (ProtobufCBinaryData){SEND_HASH, hash};
  offer->name = (char *)"file";
  offer->size = input_number(&world.input, 2) % (CONTENT_MAX + 1);
  crypto_generichash(hash, SEND_HASH, content, offer->size, NULL, 0);
}

static void
post(guint number)
{
  guint8 content[CONTENT_MAX], item[SEND_ITEM], hash[SEND_HASH];
  const SendBoxLimits limits = SEND_BOX_LIMITS;
  Doppel__Send__Offer offer;
  SendWhy why;
  fill(content, &offer, item, hash, number);
  g_autoptr(SendIncoming) incoming = send_incoming_begin(world.box, USER, USER, &offer, &limits, &why, NULL);
  demand(incoming && (offer.size == 0 || send_incoming_write(incoming, content, offer.size, &why, NULL)) &&
         send_incoming_complete(incoming, &why, NULL));
}

/* What the owner's device is told of each of them is what it understands. */
static void
check_box(void)
{
  g_autoptr(GPtrArray) items = send_box_list(world.box, DOPPEL__SEND__STATE__ANY, NULL);
  demand(items && items->len == ITEMS);
  for (guint i = 0; i < items->len; i++) {
    const SendItem *item = items->pdata[i];
    Doppel__Send__Row row;
    Doppel__Send__Receipt receipt;
    SendMessage message = DOPPEL__SEND__MESSAGE__INIT;
    send_item_row(item, &row, &receipt);
    message.what_case = DOPPEL__SEND__MESSAGE__WHAT_ROW;
    message.row = &row;
    g_autofree guint8 *packed = g_malloc(doppel__send__message__get_packed_size(&message));
    g_autoptr(SendMessage) heard =
        send_message_unpack(packed, doppel__send__message__pack(&message, packed), NULL);
    demand(heard && line_is_plain(row.words, 0, SEND_WORDS_MAX) &&
           item->state != DOPPEL__SEND__STATE__SENDING);
    if (item->state == DOPPEL__SEND__STATE__DELIVERED)
      demand(world.proved[item->item[0]] && row.receipt &&
             send_receipt_check(row.receipt, item, identity_key_public(key_of(THEIR_KEYS)), NULL, NULL));
  }
}

/* What waits is due now. */
static void
hurry(void)
{
  g_autoptr(GPtrArray) items = send_box_list(world.box, DOPPEL__SEND__STATE__KEPT, NULL);
  for (guint i = 0; i < items->len; i++) {
    const SendItem *item = items->pdata[i];
    demand(send_box_state(world.box, item->id, item->state, item->sent, item->tries, 0, item->words, NULL,
                          NULL));
  }
}

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
run_outbox(void)
{
  static guint number;
  g_autofree char *clone = g_strdup_printf("%s/%u", directory, ++number);
  const ServicePlace place = {.directory = clone, .clone_name = "clone"};
  world.box = send_outbox_open(&place, NULL);
  demand(world.box != NULL);
  for (guint i = 0; i < ITEMS; i++)
    post(i);
  for (guint i = 0; i < TURNS && world.input.left > 0; i++) {
    hurry();
    demand(send_outbox_deliver(&place, USER, NULL));
    io_close(&world.end);
    check_box();
  }
  send_box_close(world.box);
  remove_below(clone);
}

static gboolean
count_progress(guint64 done, guint64 size, gpointer data)
{
  demand(done <= size);
  return input_below(&world.input, 16) > 0;
}

/* An owner's device that posts a file to its own clone, or a clone that sends one: what comes of an answer,
 * where the file may be shorter than was thought. */
static void
run_delivery(void)
{
  guint8 content[CONTENT_MAX];
  g_autoptr(GPtrArray) items = g_ptr_array_new();
  g_autoptr(GError) error = NULL;
  g_auto(SendDelivery) delivery = {0};
  g_auto(Fd) file = memfd_create("file", MFD_CLOEXEC);
  Doppel__Send__Offer offer;
  SendItem item = {.name = (char *)"file"};
  fill(content, &offer, item.item, item.hash, 0);
  item.size = offer.size;
  g_ptr_array_add(items, &item);
  gsize there = input_below(&world.input, 8) ? offer.size : offer.size / 2;
  demand(write(file, content, there) == (gssize)there);
  int fd = answer_all(items);
  gboolean done = send_deliver(fd, DOPPEL__SEND__MESSAGE__WHAT_OFFER, &offer, offer.size, file,
                               count_progress, NULL, &delivery, &error);
  demand(done == (delivery.answer != NULL) && done == (error == NULL));
  demand(!done || delivery.answer->what_case == DOPPEL__SEND__MESSAGE__WHAT_KEPT ||
         delivery.answer->what_case == DOPPEL__SEND__MESSAGE__WHAT_RECEIPT);
  if (done && delivery.answer->what_case == DOPPEL__SEND__MESSAGE__WHAT_RECEIPT) {
    g_autofree char *name = NULL;
    gboolean right = send_receipt_check(delivery.answer->receipt, &item,
                                        identity_key_public(key_of(THEIR_KEYS)), &name, NULL);
    demand(!right || (world.proved[0] && name && *name));
  }
  close(fd);
  io_close(&world.end);
}

static void
remove_directory(void)
{
  remove_below(directory);
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
  people_files_in_memory();
  service_node = &node;
  /* What it makes durable would keep a disk busy. */
  directory = g_mkdtemp(g_strdup("/dev/shm/doppel-fuzz-XXXXXX"));
  demand(directory != NULL);
  atexit(remove_directory);
  return 0;
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize length)
{
  world = (World){.end = -1, .input = {data, length}};
  (input_below(&world.input, 2) ? run_outbox : run_delivery)();
  return 0;
}
