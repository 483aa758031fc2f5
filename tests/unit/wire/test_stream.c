/* Messages in frames, in a buffer and over sockets, from whoever is at the other end. */
#include "wire/stream.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "wire/c2c.pb-c.h"
#include "wire/message.h"

#define MOST 100

/* A message of `length` bytes. */
static Doppel__Wire__LocalControl
message_of(guint8 *body, gsize length)
{
  Doppel__Wire__LocalControl message = DOPPEL__WIRE__LOCAL_CONTROL__INIT;
  message.body = wire_borrow(body, length - 2);
  g_assert_cmpuint(protobuf_c_message_get_packed_size(&message.base), ==, length);
  return message;
}

static void
make_pair(int ends[2])
{
  g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), ==, 0);
}

static void
close_pair(const int ends[2])
{
  close(ends[0]);
  close(ends[1]);
}

/* Byte by byte: each message is there with its last one, and is what was put. */
static void
test_pieces(void)
{
  static const gsize lengths[] = {3, MOST, 50};
  guint8 body[MOST];
  g_autoptr(GByteArray) out = g_byte_array_new(), in = g_byte_array_new();
  gsize ends[G_N_ELEMENTS(lengths)];
  for (guint i = 0; i < G_N_ELEMENTS(lengths); i++) {
    memset(body, (int)i + 1, sizeof body);
    Doppel__Wire__LocalControl message = message_of(body, lengths[i]);
    wire_stream_put(out, &message.base);
    ends[i] = out->len;
  }
  for (guint at = 0, next = 0; at < out->len; at++) {
    g_autoptr(GBytes) taken = NULL;
    g_byte_array_append(in, out->data + at, 1);
    gboolean whole = at + 1 == ends[next];
    g_assert_cmpint(wire_stream_take(in, MOST, &taken, NULL), ==, whole);
    if (!whole)
      continue;
    gsize length;
    const guint8 *data = g_bytes_get_data(taken, &length);
    g_assert_cmpuint(length, ==, lengths[next++]);
    g_assert_cmpuint(data[length - 1], ==, next);
    g_assert_cmpuint(in->len, ==, 0);
  }
}

/* A length that is none is refused before anything of the message has come. */
static void
test_lengths(void)
{
  static const guint8 prefixes[][4] = {{0, 0, 0, 0}, {0, 0, 0, MOST + 1}, {0xff, 0xff, 0xff, 0xff}};
  for (guint i = 0; i < G_N_ELEMENTS(prefixes); i++) {
    g_autoptr(GError) taken = NULL, received = NULL;
    g_autoptr(GByteArray) in = g_byte_array_new();
    g_autoptr(GBytes) none = NULL;
    int ends[2];
    g_byte_array_append(in, prefixes[i], sizeof prefixes[i]);
    g_assert_cmpint(wire_stream_take(in, MOST, &none, &taken), ==, -1);
    g_assert_error(taken, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
    make_pair(ends);
    g_assert_cmpint(write(ends[1], prefixes[i], sizeof prefixes[i]), ==, sizeof prefixes[i]);
    g_assert_null(wire_stream_receive(ends[0], MOST, &received));
    g_assert_error(received, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
    close_pair(ends);
  }
}

/* However it was sent, it comes as it was. */
static void
test_socket(void)
{
  guint8 body[MOST] = {7};
  Doppel__Wire__LocalControl message = message_of(body, MOST);
  g_autoptr(GBytes) packed = wire_pack(&message.base);
  int ends[2];
  make_pair(ends);
  g_assert_true(wire_stream_send(ends[0], &message.base, NULL));
  g_assert_true(wire_stream_send_packed(ends[0], packed, NULL));
  g_autoptr(GBytes) answer =
      wire_stream_exchange(ends[1], packed, MOST, g_get_monotonic_time() + 60 * G_USEC_PER_SEC, NULL);
  g_autoptr(GBytes) second = wire_stream_receive(ends[1], MOST, NULL);
  g_autoptr(GBytes) question = wire_stream_receive(ends[0], MOST, NULL);
  g_assert_true(answer && g_bytes_equal(answer, packed));
  g_assert_true(second && g_bytes_equal(second, packed));
  g_assert_true(question && g_bytes_equal(question, packed));
  close_pair(ends);
}

/* Who has left, before a message or within it, is no end of the process. */
static void
test_gone(void)
{
  static const gsize said[] = {0, 3, 4, 10};
  guint8 body[MOST] = {0};
  Doppel__Wire__LocalControl message = message_of(body, MOST);
  g_autoptr(GByteArray) frame = g_byte_array_new();
  wire_stream_put(frame, &message.base);
  for (guint i = 0; i < G_N_ELEMENTS(said); i++) {
    g_autoptr(GError) error = NULL, unsent = NULL;
    int ends[2];
    make_pair(ends);
    g_assert_cmpint(write(ends[1], frame->data, said[i]), ==, said[i]);
    close(ends[1]);
    g_assert_null(wire_stream_receive(ends[0], MOST, &error));
    g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_GONE);
    g_assert_false(wire_stream_send(ends[0], &message.base, &unsent));
    g_assert_error(unsent, DOPPEL_ERROR, DOPPEL_ERROR_GONE);
    close(ends[0]);
  }
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/wire/stream/pieces", test_pieces);
  g_test_add_func("/wire/stream/lengths", test_lengths);
  g_test_add_func("/wire/stream/socket", test_socket);
  g_test_add_func("/wire/stream/gone", test_gone);
  return g_test_run();
}
