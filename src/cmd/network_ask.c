#include "cmd/network_ask.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "c2c/api.h"

#define ASK_MS 30000

typedef struct {
  const ProtobufCMessageDescriptor *descriptor;
  ProtobufCMessage *message;
} Answer;

static int
take(const unsigned char *body, size_t length, int more, void *data)
{
  Answer *answer = data;
  answer->message = protobuf_c_message_unpack(answer->descriptor, NULL, length, body);
  return 1;
}

static gboolean
fail(int number, char *why, GError **error)
{
  DoppelErrorCode code = number == ENOENT   ? DOPPEL_ERROR_NOT_FOUND
                         : number == EACCES ? DOPPEL_ERROR_DENIED
                                            : DOPPEL_ERROR_GONE;
  doppel_error_set(error, code, "%s", why && *why ? why : g_strerror(number));
  free(why);
  return FALSE;
}

ProtobufCMessage *
network_ask(const char *verb, const ProtobufCMessage *body, const ProtobufCMessageDescriptor *descriptor,
            GError **error)
{
  Answer answer = {.descriptor = descriptor};
  char *why = NULL;
  gsize length = body ? protobuf_c_message_get_packed_size(body) : 0;
  g_autofree guint8 *bytes = g_malloc(length + 1);
  if (body)
    protobuf_c_message_pack(body, bytes);
  c2c_set_program("/proc/self/exe");
  C2c *c2c = c2c_open(NULL, &why);
  if (!c2c) {
    fail(errno, why, error);
    return NULL;
  }
  int done = c2c_control(c2c, verb, bytes, length, ASK_MS, take, &answer, &why), number = errno;
  c2c_close(c2c);
  if (answer.message)
    return answer.message;
  if (done < 0 && number != ECANCELED)
    fail(number, why, error);
  else
    doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                     "the clone's answer makes no sense: install the same version of doppel on both");
  return NULL;
}

static void
answer_free(gpointer answer)
{
  protobuf_c_message_free_unpacked(answer, NULL);
}

GPtrArray *
network_answers_new(void)
{
  return g_ptr_array_new_with_free_func(answer_free);
}

char *
network_key(const ProtobufCBinaryData *key)
{
  IdentityPublic public;
  if (key->len != sizeof public.bytes)
    return g_strdup("");
  memcpy(public.bytes, key->data, sizeof public.bytes);
  g_autofree char *text = identity_public_to_text(&public);
  return g_strconcat("key:", text, NULL);
}

char *
network_time(gint64 seconds)
{
  g_autoptr(GDateTime) time = seconds > 0 ? g_date_time_new_from_unix_utc(seconds) : NULL;
  return time ? g_date_time_format(time, "%FT%TZ") : g_strdup("");
}

char *
network_age(gint64 seconds)
{
  static const struct {
    gint64 seconds;
    const char *word;
  } units[] = {{86400, "day"}, {3600, "hour"}, {60, "minute"}, {1, "second"}};
  gint64 age = MAX(clock_unix_time() - seconds, 0);
  guint i = 0;
  while (i + 1 < G_N_ELEMENTS(units) && age < units[i].seconds)
    i++;
  gint64 count = age / units[i].seconds;
  return g_strdup_printf("%" G_GINT64_FORMAT " %s%s", count, units[i].word, count == 1 ? "" : "s");
}

void
network_notes(const char *verb, char *const *notes, gsize count)
{
  for (gsize i = 0; i < count; i++) {
    g_autofree char *words = g_utf8_make_valid(notes[i], -1);
    for (char *at = words; *at; at = g_utf8_next_char(at))
      if (g_unichar_iscntrl(g_utf8_get_char(at)))
        memset(at, '?', (size_t)(g_utf8_next_char(at) - at));
    fprintf(stderr, "doppel %s: %s\n", verb, words);
  }
}
