#include "profiler/seen.h"

#include <jansson.h>

#include "base/line.h"

void
profiler_seen_free(ProfilerSeen *seen)
{
  g_free(seen->reason);
  g_free(seen);
}

/* Beyond these nothing is believed, and no sum of them overflows. */
#define COUNT_MAX        (G_GUINT64_CONSTANT(1) << 53)
#define MICROSECONDS_MAX 1e9
#define NS_MAX           1e18

static guint64
number_of(const json_t *object, const char *name)
{
  gint64 value = json_integer_value(json_object_get(object, name));
  return MIN((guint64)MAX(value, 0), COUNT_MAX);
}

static double
real_of(const json_t *object, const char *name)
{
  double value = json_number_value(json_object_get(object, name));
  return value > 0 && value < MICROSECONDS_MAX ? value : 0;
}

/* The first of an array; NULL where there is none. */
static json_t *
first_of(const json_t *object, const char *name)
{
  return json_array_get(json_object_get(object, name), 0);
}

static void
read_reasons(ProfilerSeen *seen, const json_t *function)
{
  json_t *reasons = json_object_get(function, "reasons"), *count;
  const char *name;
  guint64 most = 0;
  json_object_foreach(reasons, name, count)
  {
    if (number_of(reasons, name) <= most)
      continue;
    most = number_of(reasons, name);
    g_free(seen->reason);
    seen->reason = line_of(name, PROFILER_SEEN_REASON);
  }
}

/* Medians of each part, in microseconds. */
static void
read_split(ProfilerSeen *seen, const json_t *function)
{
  static const char *const device[] = {"stop", "capture", "send", "apply"};
  static const char *const clone[] = {"clone_apply", "clone_capture", "clone_send"};
  const json_t *split = json_object_get(function, "split_us");
  for (guint i = 0; i < G_N_ELEMENTS(device); i++)
    seen->device_ns += real_of(split, device[i]) * 1e3 * (double)seen->blocks;
  for (guint i = 0; i < G_N_ELEMENTS(clone); i++)
    seen->clone_ns += real_of(split, clone[i]) * 1e3 * (double)seen->blocks;
  seen->device_ns = MIN(seen->device_ns, NS_MAX);
  seen->clone_ns = MIN(seen->clone_ns, NS_MAX);
}

static void
read_function(ProfilerSeen *seen, const json_t *function)
{
  seen->blocks = number_of(function, "remote");
  seen->cut = number_of(function, "cut");
  seen->aborted = number_of(function, "aborted");
  seen->bytes_out = number_of(function, "bytes_out");
  seen->bytes_in = number_of(function, "bytes_in");
  seen->trips = number_of(function, "round_trips");
  const json_t *first = first_of(function, "blocks");
  if (first) {
    seen->first_out = MIN(number_of(first, "out"), seen->bytes_out);
    seen->first_in = MIN(number_of(first, "in"), seen->bytes_in);
    seen->first_trips = MIN(number_of(first, "round_trips"), seen->trips);
  }
  read_split(seen, function);
  read_reasons(seen, function);
}

gboolean
profiler_seen_read(ProfilerSeen *seen, const char *json, gsize length)
{
  json_auto_t *root = json_loadb(json, length, 0, NULL);
  const json_t *function = first_of(root, "functions");
  if (!json_is_object(function))
    return FALSE;
  read_function(seen, function);
  return TRUE;
}
