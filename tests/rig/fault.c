#include "fault.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"

static const struct {
  const char *word;
  FaultPlace place;
} places[] = {{"byte=", FAULT_BYTE}, {"record=", FAULT_RECORD}, {"ms=", FAULT_TIME}};

static gboolean
number_after(const char *text, const char *word, gint64 *number)
{
  char *end = NULL;
  if (!g_str_has_prefix(text, word))
    return FALSE;
  *number = g_ascii_strtoll(text + strlen(word), &end, 10);
  return end != text + strlen(word) && *end == 0 && *number >= 0;
}

static gboolean
parse_place(Fault *fault, const char *word)
{
  for (gsize i = 0; i < G_N_ELEMENTS(places); i++)
    if (number_after(word, places[i].word, &fault->at)) {
      fault->place = places[i].place;
      return TRUE;
    }
  return FALSE;
}

static gboolean
parse_kind(Fault *fault, const char *word)
{
  gint64 stall = 0;
  if (g_str_equal(word, "rst"))
    fault->kind = FAULT_RESET;
  else if (g_str_equal(word, "fin"))
    fault->kind = FAULT_FINISH;
  else if (g_str_equal(word, "stall"))
    fault->kind = FAULT_STALL_FOREVER;
  else if (number_after(word, "stall=", &stall) && stall <= G_MAXINT)
    fault->kind = FAULT_STALL;
  else
    return FALSE;
  fault->stall_ms = (int)stall;
  return TRUE;
}

Fault *
fault_parse(const char *text, GError **error)
{
  g_auto(GStrv) words = g_strsplit(text, ",", -1);
  g_autoptr(Fault) fault = g_new0(Fault, 1);
  gint64 away = 0;
  guint count = g_strv_length(words);
  gboolean good = count == 3 || (count == 4 && number_after(words[3], "away=", &away) && away <= G_MAXINT);
  good = good && (g_str_equal(words[0], "up") || g_str_equal(words[0], "down"));
  if (!good || !parse_place(fault, words[1]) || !parse_kind(fault, words[2])) {
    doppel_error_set(error, DOPPEL_ERROR_USAGE,
                     "\"%s\" is no fault: write up|down,byte=N|record=N|ms=N,rst|fin|stall[=MS][,away=MS]",
                     text);
    return NULL;
  }
  fault->text = g_strdup(text);
  fault->direction = g_str_equal(words[0], "up") ? FAULT_UP : FAULT_DOWN;
  fault->away_ms = (int)away;
  return g_steal_pointer(&fault);
}

void
fault_free(Fault *fault)
{
  g_free(fault->text);
  g_free(fault);
}

static gboolean
may_start_handshake(const guint8 *header, guint have)
{
  return header[0] == 0x16 && (have < 2 || header[1] == 3) &&
         (have < 3 || (header[2] >= 1 && header[2] <= 4));
}

/* Takes one byte of a header; a byte that cannot be part of the first handshake record is dropped from its
 * front. */
static void
take_header_byte(FaultRecords *records, guint8 byte)
{
  records->header[records->have++] = byte;
  while (!records->synced && records->have && !may_start_handshake(records->header, records->have))
    memmove(records->header, records->header + 1, --records->have);
  if (records->have < sizeof records->header)
    return;
  records->synced = TRUE;
  records->left = (guint32)records->header[3] << 8 | records->header[4];
  records->have = 0;
  if (!records->left)
    records->records++;
}

gsize
fault_records_pass(FaultRecords *records, const guint8 *data, gsize length, gint64 limit)
{
  gsize passed = 0;
  while (passed < length && records->records < limit) {
    if (records->left) {
      gsize part = MIN(records->left, length - passed);
      records->left -= (guint32)part;
      passed += part;
      if (!records->left)
        records->records++;
    } else {
      take_header_byte(records, data[passed++]);
    }
  }
  return passed;
}
