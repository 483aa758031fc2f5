#include "speaker.h"

#include "c2c/local_frame.h"

typedef Doppel__Wire__MuxControl Control;

static void
say(Speaker *speaker, guint32 channel, const void *data, gsize length)
{
  link_send(speaker->link, channel, &(struct iovec){(void *)data, length}, 1, NULL);
}

static void
say_control(Speaker *speaker, const Control *control)
{
  gsize length = doppel__wire__mux_control__get_packed_size(control);
  g_autofree guint8 *packed = g_malloc(length + 1);
  doppel__wire__mux_control__pack(control, packed);
  say(speaker, C2C_CHANNEL, packed, length);
}

static void
open_stream(Speaker *speaker)
{
  Control control = DOPPEL__WIRE__MUX_CONTROL__INIT;
  Doppel__Wire__MuxOpen open = DOPPEL__WIRE__MUX_OPEN__INIT;
  guint count = g_strv_length((char **)speaker->services);
  open.stream = speaker->next;
  open.window = MUX_WINDOW_FIRST;
  open.user = input_below(speaker->input, 4) ? (char *)"" : (char *)"u";
  open.service = (char *)speaker->services[input_below(speaker->input, count)];
  control.what_case = DOPPEL__WIRE__MUX_CONTROL__WHAT_OPEN;
  control.open = &open;
  speaker->next += 2;
  say_control(speaker, &control);
}

static guint32
some_stream(Speaker *speaker)
{
  return 1 + input_below(speaker->input, 8);
}

static void
say_of_stream(Speaker *speaker)
{
  Control control = DOPPEL__WIRE__MUX_CONTROL__INIT;
  Doppel__Wire__MuxAccepted accepted = DOPPEL__WIRE__MUX_ACCEPTED__INIT;
  Doppel__Wire__MuxRefused refused = DOPPEL__WIRE__MUX_REFUSED__INIT;
  Doppel__Wire__MuxEnd end = DOPPEL__WIRE__MUX_END__INIT;
  Doppel__Wire__MuxReset reset = DOPPEL__WIRE__MUX_RESET__INIT;
  accepted.stream = refused.stream = end.stream = reset.stream = some_stream(speaker);
  accepted.window = MUX_WINDOW_FIRST;
  refused.why = 1 + input_below(speaker->input, 7);
  refused.words = reset.words = (char *)"words";
  switch (input_below(speaker->input, 6)) {
  case 0:
    control.what_case = DOPPEL__WIRE__MUX_CONTROL__WHAT_REFUSED;
    control.refused = &refused;
    break;
  case 1:
    control.what_case = DOPPEL__WIRE__MUX_CONTROL__WHAT_END;
    control.end = &end;
    break;
  case 2:
    control.what_case = DOPPEL__WIRE__MUX_CONTROL__WHAT_RESET;
    control.reset = &reset;
    break;
  default:
    control.what_case = DOPPEL__WIRE__MUX_CONTROL__WHAT_ACCEPTED;
    control.accepted = &accepted;
  }
  say_control(speaker, &control);
}

void
speaker_say_frame(Speaker *speaker, const guint8 *packet, gsize length)
{
  guint8 frame[2048] = {0};
  gsize size = LOCAL_FRAME_PREFIX + MIN(length, sizeof frame - LOCAL_FRAME_PREFIX), first = size;
  frame[2] = length >> 8;
  frame[3] = length;
  memcpy(frame + LOCAL_FRAME_PREFIX, packet, size - LOCAL_FRAME_PREFIX);
  guint32 channel = C2C_STREAM_BASE + some_stream(speaker);
  /* At times in two pieces. */
  if (input_below(speaker->input, 4) == 0)
    first = 1 + input_number(speaker->input, 1) % size;
  say(speaker, channel, frame, first);
  if (first < size)
    say(speaker, channel, frame + first, size - first);
}

void
speaker_speak(Speaker *speaker)
{
  gsize length;
  const guint8 *bytes;
  switch (input_below(speaker->input, 16)) {
  case 0:
    bytes = input_blob(speaker->input, &length);
    say(speaker, C2C_CHANNEL, bytes, length);
    break;
  case 1:
  case 2:
  case 3:
    bytes = input_blob(speaker->input, &length);
    if (length > 0)
      say(speaker, C2C_STREAM_BASE + some_stream(speaker), bytes, length);
    break;
  case 4:
  case 5:
  case 6:
  case 7:
  case 8:
    open_stream(speaker);
    break;
  default:
    say_of_stream(speaker);
  }
  link_work(speaker->link, NULL);
  for (LinkMessage *message; (message = link_take(speaker->link)); link_message_free(message))
    ;
}
