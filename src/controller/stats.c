#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
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

static void
append_json_string(GString *json, const char *text)
{
  g_string_append_c(json, '"');
  for (const guchar *at = (const guchar *)text; *at; at++) {
    if (*at == '"' || *at == '\\')
      g_string_append_printf(json, "\\%c", *at);
    else if (*at < 0x20 || *at == 0x7f)
      g_string_append_printf(json, "\\u%04x", *at);
    else
      g_string_append_c(json, *at);
  }
  g_string_append_c(json, '"');
}

static void
function_json(GString *json, const Function *function)
{
  GHashTableIter iterator;
  gpointer reason, count;
  gboolean first = TRUE;
  g_string_append(json, "{\"function\":");
  append_json_string(json, function->text);
  g_string_append_printf(
      json,
      ",\"calls\":%" G_GUINT64_FORMAT ",\"remote\":%" G_GUINT64_FORMAT ",\"local\":%" G_GUINT64_FORMAT
      ",\"cut\":%" G_GUINT64_FORMAT ",\"aborted\":%" G_GUINT64_FORMAT ",\"reasons\":{",
      function->calls, function->remote, function->local, function->cut, function->aborted);
  g_hash_table_iter_init(&iterator, function->reasons);
  while (g_hash_table_iter_next(&iterator, &reason, &count)) {
    g_string_append(json, first ? "" : ",");
    append_json_string(json, reason);
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
  split_json(json, function);
  g_string_append_c(json, '}');
}

static void
write_json(Controller *controller, const char *path)
{
  g_autoptr(GString) json = g_string_new("{\"program\":");
  append_json_string(json, controller->program);
  g_string_append_printf(json, ",\"whole\":%s,\"functions\":[",
                         controller->options->whole ? "true" : "false");
  for (guint i = 0; i < controller->functions->len; i++) {
    g_string_append(json, i ? "," : "");
    function_json(json, controller->functions->pdata[i]);
  }
  g_string_append(json, "]}\n");
  g_autoptr(GError) error = NULL;
  if (!g_file_set_contents(path, json->str, json->len, &error))
    fprintf(stderr, "doppel: cannot write the statistics: %s\n", error->message);
}

static void
write_table(Controller *controller)
{
  fprintf(stderr, "\n%-28s %8s %8s %8s %5s %7s %10s %10s %9s %9s\n", "function", "calls", "clone", "device",
          "cut", "aborted", "sent", "received", "clone s", "device s");
  for (guint i = 0; i < controller->functions->len; i++) {
    const Function *function = controller->functions->pdata[i];
    g_autofree char *sent = g_format_size(function->bytes_out);
    g_autofree char *received = g_format_size(function->bytes_in);
    GHashTableIter iterator;
    gpointer reason, count;
    fprintf(stderr,
            "%-28s %8" G_GUINT64_FORMAT " %8" G_GUINT64_FORMAT " %8" G_GUINT64_FORMAT " %5" G_GUINT64_FORMAT
            " %7" G_GUINT64_FORMAT " %10s %10s %9.3f %9.3f\n",
            function->text, function->calls, function->remote, function->local, function->cut,
            function->aborted, sent, received, function->remote_ns / 1e9, function->local_ns / 1e9);
    g_hash_table_iter_init(&iterator, function->reasons);
    while (g_hash_table_iter_next(&iterator, &reason, &count))
      fprintf(stderr, "  %u times: %s\n", GPOINTER_TO_UINT(count), (char *)reason);
  }
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
