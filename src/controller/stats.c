#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "controller/controller.h"

void
explain(Controller *controller, const char *format, ...)
{
  if (!controller->options->explain)
    return;
  va_list arguments;
  va_start(arguments, format);
  g_autofree char *text = g_strdup_vprintf(format, arguments);
  va_end(arguments);
  g_autofree char *line = g_strdup_printf("doppel: %s\n", text);
  io_write_all(2, line, strlen(line));
}

void
stats_block(Controller *controller, Function *function, gint64 took_ns)
{
  const LinkCounters *counters = link_counters(controller->link);
  BlockRecord record = {counters->bytes_sent - controller->bytes_out_before,
                        counters->bytes_received - controller->bytes_in_before, took_ns,
                        controller->meter.now};
  function->remote++;
  function->remote_ns += took_ns;
  function->bytes_out += record.bytes_out;
  function->bytes_in += record.bytes_in;
  traffic_add(&function->traffic, &record.traffic);
  if (!controller->options->stats || controller->block_records >= BLOCK_RECORDS_MAX)
    return;
  if (!function->blocks)
    function->blocks = g_array_new(FALSE, FALSE, sizeof(BlockRecord));
  g_array_append_val(function->blocks, record);
  controller->block_records++;
}

void
stats_came_home(Controller *controller, const LinkCounters *since, const Traffic *before)
{
  const LinkCounters *counters = link_counters(controller->link);
  Function *function = controller->left_by;
  Traffic traffic = controller->meter.now;
  if (!function || controller->phase != BLOCK_NONE)
    return;
  for (TrafficKind kind = 0; kind < TRAFFIC_KINDS; kind++)
    for (TrafficWay way = 0; way < TRAFFIC_WAYS; way++)
      traffic.bytes[kind][way] -= before->bytes[kind][way];
  traffic.round_trips -= before->round_trips;
  traffic_add(&function->traffic, &traffic);
  function->bytes_out += counters->bytes_sent - since->bytes_sent;
  function->bytes_in += counters->bytes_received - since->bytes_received;
}

/* ---- JSON ---- */

static void
traffic_json(GString *json, const Traffic *traffic)
{
  g_string_append(json, ",\"bytes\":{");
  for (TrafficKind kind = 0; kind < TRAFFIC_KINDS; kind++)
    g_string_append_printf(json, "%s\"%s\":{\"out\":%" G_GUINT64_FORMAT ",\"in\":%" G_GUINT64_FORMAT "}",
                           kind ? "," : "", traffic_kind_names[kind], traffic->bytes[kind][TRAFFIC_OUT],
                           traffic->bytes[kind][TRAFFIC_IN]);
  g_string_append_printf(json, "},\"round_trips\":%" G_GUINT64_FORMAT, traffic->round_trips);
}

static void
blocks_json(GString *json, const GArray *blocks)
{
  char us[G_ASCII_DTOSTR_BUF_SIZE];
  g_string_append(json, ",\"blocks\":[");
  for (guint i = 0; blocks && i < blocks->len; i++) {
    const BlockRecord *record = &g_array_index(blocks, BlockRecord, i);
    g_string_append_printf(json,
                           "%s{\"out\":%" G_GUINT64_FORMAT ",\"in\":%" G_GUINT64_FORMAT
                           ",\"round_trips\":%" G_GUINT64_FORMAT ",\"us\":%s",
                           i ? "," : "", record->bytes_out, record->bytes_in, record->traffic.round_trips,
                           g_ascii_formatd(us, sizeof us, "%.3f", record->took_ns / 1e3));
    for (TrafficKind kind = 0; kind < TRAFFIC_KINDS; kind++)
      g_string_append_printf(json, ",\"%s\":%" G_GUINT64_FORMAT, traffic_kind_names[kind],
                             traffic_bytes(&record->traffic, kind));
    g_string_append_c(json, '}');
  }
  g_string_append_c(json, ']');
}

static void
function_json(GString *json, const Function *function)
{
  GHashTableIter iterator;
  gpointer reason, count;
  gboolean first = TRUE;
  g_string_append(json, "{\"function\":");
  json_append_string(json, function->text);
  g_string_append_printf(
      json,
      ",\"calls\":%" G_GUINT64_FORMAT ",\"remote\":%" G_GUINT64_FORMAT ",\"local\":%" G_GUINT64_FORMAT
      ",\"cut\":%" G_GUINT64_FORMAT ",\"aborted\":%" G_GUINT64_FORMAT ",\"reasons\":{",
      function->calls, function->remote, function->local, function->cut, function->aborted);
  g_hash_table_iter_init(&iterator, function->reasons);
  while (g_hash_table_iter_next(&iterator, &reason, &count)) {
    g_string_append(json, first ? "" : ",");
    json_append_string(json, reason);
    g_string_append_printf(json, ":%u", GPOINTER_TO_UINT(count));
    first = FALSE;
  }
  char remote[G_ASCII_DTOSTR_BUF_SIZE], local[G_ASCII_DTOSTR_BUF_SIZE];
  g_string_append_printf(json,
                         "},\"bytes_out\":%" G_GUINT64_FORMAT ",\"bytes_in\":%" G_GUINT64_FORMAT
                         ",\"time_remote_s\":%s,\"time_local_s\":%s",
                         function->bytes_out, function->bytes_in,
                         g_ascii_formatd(remote, sizeof remote, "%.6f", function->remote_ns / 1e9),
                         g_ascii_formatd(local, sizeof local, "%.6f", function->local_ns / 1e9));
  if (function->joules_here + function->joules_there > 0)
    g_string_append_printf(json, ",\"energy_local_j\":%s,\"energy_remote_j\":%s",
                           g_ascii_formatd(local, sizeof local, "%.6f", function->joules_here),
                           g_ascii_formatd(remote, sizeof remote, "%.6f", function->joules_there));
  split_json(json, function);
  traffic_json(json, &function->traffic);
  blocks_json(json, function->blocks);
  g_string_append_c(json, '}');
}

/* Nothing of worth is lost with it, so that a program's end does not wait for the disk: neither to be sure
 * that it is written, nor as file systems do for what replaces a file or is written after it was emptied.
 * FALSE with errno. */
static gboolean
write_over(const char *path, const GString *text)
{
  g_auto(Fd) fd = open(path, O_WRONLY | O_CREAT | O_NOCTTY | O_CLOEXEC, 0666);
  struct stat status;
  return fd >= 0 && fstat(fd, &status) == 0 && io_write_all(fd, text->str, text->len) &&
         (!S_ISREG(status.st_mode) || ftruncate(fd, text->len) == 0);
}

static void
write_json(Controller *controller, const char *path)
{
  g_autoptr(GString) json = g_string_new("{\"program\":");
  json_append_string(json, controller->program);
  if (controller->energy) {
    g_string_append(json, ",\"energy_model\":");
    json_append_string(json, controller->energy->name);
  }
  g_string_append_printf(json, ",\"whole\":%s,\"functions\":[",
                         controller->options->whole ? "true" : "false");
  for (guint i = 0; i < controller->functions->len; i++) {
    g_string_append(json, i ? "," : "");
    function_json(json, controller->functions->pdata[i]);
  }
  g_string_append_c(json, ']');
  checkpoints_json(json, controller);
  g_string_append(json, "}\n");
  if (!write_over(path, json))
    fprintf(stderr, "doppel: cannot write the statistics: %s: %s\n", path, g_strerror(errno));
}

/* ---- tables ---- */

/* At the right of its column; a size has a character of several bytes in it. */
static void
print_size(guint64 bytes, int width)
{
  g_autofree char *size = bytes ? g_format_size(bytes) : g_strdup("-");
  fprintf(stderr, " %*s%s", MAX(width - (int)g_utf8_strlen(size, -1), 0), "", size);
}

/* What the messages carried, for a block on average. */
static void
write_traffic(Controller *controller)
{
  gboolean any = FALSE;
  for (guint i = 0; i < controller->functions->len; i++) {
    const Function *function = controller->functions->pdata[i];
    if (!function->remote)
      continue;
    if (!any) {
      fprintf(stderr, "\n%-28s", "bytes in a block, on average");
      for (TrafficKind kind = 0; kind < TRAFFIC_KINDS; kind++)
        fprintf(stderr, " %9s", traffic_kind_names[kind]);
      fprintf(stderr, " %11s\n", "round trips");
      any = TRUE;
    }
    fprintf(stderr, "%-28s", function->text);
    for (TrafficKind kind = 0; kind < TRAFFIC_KINDS; kind++)
      print_size(traffic_bytes(&function->traffic, kind) / function->remote, 9);
    fprintf(stderr, " %11.1f\n", (double)function->traffic.round_trips / (double)function->remote);
  }
}

static void
write_energy(Controller *controller)
{
  for (guint i = 0; i < controller->functions->len; i++) {
    const Function *function = controller->functions->pdata[i];
    if (function->joules_here + function->joules_there > 0)
      fprintf(stderr,
              "energy on the device, as the model %s estimates: %.3g J in calls of %s here, %.3g J in its "
              "blocks\n",
              controller->energy->name, function->joules_here, function->text, function->joules_there);
  }
}

static void
write_table(Controller *controller)
{
  checkpoints_table(controller);
  if (controller->checkpoints && !controller->functions->len)
    return;
  fprintf(stderr, "\n%-28s %8s %8s %8s %5s %7s %10s %10s %9s %9s\n", "function", "calls", "clone", "device",
          "cut", "aborted", "sent", "received", "clone s", "device s");
  for (guint i = 0; i < controller->functions->len; i++) {
    const Function *function = controller->functions->pdata[i];
    GHashTableIter iterator;
    gpointer reason, count;
    fprintf(stderr,
            "%-28s %8" G_GUINT64_FORMAT " %8" G_GUINT64_FORMAT " %8" G_GUINT64_FORMAT " %5" G_GUINT64_FORMAT
            " %7" G_GUINT64_FORMAT,
            function->text, function->calls, function->remote, function->local, function->cut,
            function->aborted);
    print_size(function->bytes_out, 10);
    print_size(function->bytes_in, 10);
    fprintf(stderr, " %9.3f %9.3f\n", function->remote_ns / 1e9, function->local_ns / 1e9);
    g_hash_table_iter_init(&iterator, function->reasons);
    while (g_hash_table_iter_next(&iterator, &reason, &count))
      fprintf(stderr, "  %u times: %s\n", GPOINTER_TO_UINT(count), (char *)reason);
  }
  write_traffic(controller);
  write_energy(controller);
}

void
stats_write(Controller *controller)
{
  if (!controller->options->stats)
    return;
  if (strcmp(controller->options->stats, "-") == 0)
    write_table(controller);
  else
    write_json(controller, controller->options->stats);
}
