/* Frames and preambles: what is written is read again, what cannot be is refused. */
#include <string.h>

#include "base/error.h"
#include "wire/frame.h"
#include "wire/preamble.h"

static void
test_round_trip(void)
{
  const WireFrame frames[] = {
      {WIRE_DATA, WIRE_DATA_MAX, G_MAXUINT32, G_MAXUINT32, 7},
      {WIRE_DATA, 0, 0, 1, 0},
      {WIRE_ACK, 0, 0, 5, 9},
      {WIRE_PING, 0, 0, 0, 0},
      {WIRE_BYE, 0, 0, 1, 2},
      {WIRE_HELLO, 1024, 0, 0, 0},
  };
  for (gsize i = 0; i < G_N_ELEMENTS(frames); i++) {
    guint8 header[WIRE_FRAME_HEADER];
    WireFrame read;
    g_autoptr(GError) error = NULL;
    wire_frame_encode(header, &frames[i]);
    g_assert_true(wire_frame_decode(header, &read, &error));
    g_assert_no_error(error);
    g_assert_cmpmem(&read, sizeof read, &frames[i], sizeof read);
    wire_frame_acknowledge(header, 0x01020304);
    g_assert_true(wire_frame_decode(header, &read, NULL));
    g_assert_cmpuint(read.acknowledged, ==, 0x01020304);
    g_assert_cmpuint(read.sequence, ==, frames[i].sequence);
  }
}

static void
test_refused(void)
{
  const WireFrame frames[] = {
      {WIRE_DATA, WIRE_DATA_MAX + 1, 0, 1, 0},
      {WIRE_DATA, 0xffffff, 0, 1, 0},
      {WIRE_ACK, 1, 0, 0, 0},
      {WIRE_BYE, 3, 0, 0, 0},
      {WIRE_HELLO, 0, 0, 0, 0},
      {WIRE_HELLO, 1025, 0, 0, 0},
      {WIRE_PING, 0, 1, 0, 0},
      {0, 0, 0, 0, 0},
      {WIRE_WELCOME + 1, 0, 0, 0, 0},
      {255, 0, 0, 0, 0},
  };
  for (gsize i = 0; i < G_N_ELEMENTS(frames); i++) {
    guint8 header[WIRE_FRAME_HEADER];
    WireFrame read;
    g_autoptr(GError) error = NULL;
    wire_frame_encode(header, &frames[i]);
    g_assert_false(wire_frame_decode(header, &read, &error));
    g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
  }
}

static void
test_expand(void)
{
  const guint64 numbers[] = {0,          1,           0x7fffffff,  0x80000000,
                             0xffffffff, 0x100000000, 0x100000001, 0x8765432100000000};
  for (gsize i = 0; i < G_N_ELEMENTS(numbers); i++)
    for (int step = -1000; step <= 1000; step += 250) {
      guint64 number = numbers[i] + step;
      g_assert_cmpuint(wire_frame_expand(numbers[i], (guint32)number), ==, number);
    }
}

static void
test_preamble(void)
{
  WirePreamble written, read;
  guint8 bytes[WIRE_PREAMBLE_LENGTH];
  written.purpose = WIRE_PURPOSE_DEVICE;
  memset(written.clone, 0xab, sizeof written.clone);
  memset(written.session, 0x17, sizeof written.session);
  wire_preamble_encode(bytes, &written);
  g_assert_true(wire_preamble_decode(bytes, &read, NULL));
  g_assert_cmpmem(&read, sizeof read, &written, sizeof written);
  for (gsize i = 0; i < 8; i++) {
    g_autoptr(GError) error = NULL;
    bytes[i] ^= 2;
    g_assert_false(wire_preamble_decode(bytes, &read, &error));
    int code = i < 6 ? DOPPEL_ERROR_HOSTILE : DOPPEL_ERROR_UNSUPPORTED;
    g_assert_error(error, DOPPEL_ERROR, code);
    bytes[i] ^= 2;
  }
  written.purpose = WIRE_PURPOSE_PEER;
  wire_preamble_encode(bytes, &written);
  g_assert_cmpuint(bytes[6], ==, 1);
  g_assert_cmpuint(bytes[7], ==, 1);
  g_assert_true(wire_preamble_decode(bytes, &read, NULL));
  g_assert_cmpmem(&read, sizeof read, &written, sizeof written);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/wire/frame/round-trip", test_round_trip);
  g_test_add_func("/wire/frame/refused", test_refused);
  g_test_add_func("/wire/frame/expand", test_expand);
  g_test_add_func("/wire/preamble", test_preamble);
  return g_test_run();
}
