/* virus-scan -d DATABASE PATH...: looks for the signatures of a data base in files. README.md is its manual.
 */
#include <locale.h>
#include <stdio.h>

#include "scanner.h"

enum { CLEAN = 0, FOUND = 1, FAILED = 2 };

static void
print_summary(const Scanner *scanner)
{
  const ScanSummary *sum = &scanner->summary;
  g_print("\n----------- SCAN SUMMARY -----------\n");
  g_print("Known viruses: %u\n", scanner->signatures->len);
  g_print("Scanned directories: %" G_GUINT64_FORMAT "\n", sum->directories);
  g_print("Scanned files: %" G_GUINT64_FORMAT "\n", sum->files);
  g_print("Scanned files in containers: %" G_GUINT64_FORMAT "\n", sum->members);
  g_print("Infected files: %" G_GUINT64_FORMAT "\n", sum->infected);
  g_print("Skipped: %" G_GUINT64_FORMAT "\n", sum->skipped);
  g_print("Errors: %" G_GUINT64_FORMAT "\n", sum->errors);
  g_print("Data scanned: %.2f MiB\n", (double)sum->bytes / (1 << 20));
}

static int
fail(const char *why)
{
  g_printerr("virus-scan: %s\n", why);
  return FAILED;
}

static int
scan(Scanner *scanner, char **paths, gboolean no_summary)
{
  for (gsize i = 0; paths[i]; i++)
    scan_path(scanner, paths[i]);
  if (!no_summary)
    print_summary(scanner);
  if (ferror(stdout))
    return fail("the output cannot be written");
  if (scanner->summary.infected)
    return FOUND;
  return scanner->summary.errors ? FAILED : CLEAN;
}

int
main(int argc, char **argv)
{
  g_autofree char *database = NULL;
  g_auto(GStrv) paths = NULL;
  int max_size = 64, max_depth = 8;
  gboolean no_summary = FALSE, verbose = FALSE;
  const GOptionEntry entries[] = {
      {"database", 'd', 0, G_OPTION_ARG_FILENAME, &database, "The signatures to look for", "FILE"},
      {"max-size", 0, 0, G_OPTION_ARG_INT, &max_size, "Skip files larger than this many MiB (64)", "N"},
      {"max-depth", 0, 0, G_OPTION_ARG_INT, &max_depth,
       "Open so many containers inside of one another (8); 0: none", "N"},
      {"verbose", 'v', 0, G_OPTION_ARG_NONE, &verbose, "Also name what is clean", NULL},
      {"no-summary", 0, 0, G_OPTION_ARG_NONE, &no_summary, "Print no summary", NULL},
      {G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &paths, NULL, "PATH..."},
      {NULL},
  };
  setlocale(LC_ALL, "");
  g_autoptr(GError) error = NULL;
  g_autoptr(GOptionContext) context = g_option_context_new(NULL);
  g_option_context_set_summary(context,
                               "Looks for viruses in files, in directories and in the containers there\n"
                               "(tar, zip, cpio, ar; gzip, bzip2, xz, zstd).");
  g_option_context_set_description(context, "Exit status: 0 nothing found, 1 something found, 2 an error.\n");
  g_option_context_add_main_entries(context, entries, NULL);
  if (!g_option_context_parse(context, &argc, &argv, &error))
    return fail(error->message);
  if (!database || !paths)
    return fail("write: virus-scan -d FILE PATH...; --help tells more");
  if (max_size < 1 || max_depth < 0)
    return fail("--max-size is at least 1, --max-depth at least 0");

  g_autoptr(GPtrArray) signatures = signatures_load(database, &error);
  if (!signatures)
    return fail(error->message);
  g_autoptr(Matcher) matcher = matcher_new(signatures, &error);
  if (!matcher)
    return fail(error->message);
  Scanner scanner = {
      .signatures = signatures,
      .matcher = matcher,
      .options = {.max_size = (gsize)max_size << 20, .max_depth = max_depth, .verbose = verbose}};
  return scan(&scanner, paths, no_summary);
}
