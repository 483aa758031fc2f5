/* Goes through files, folders and containers, and prints what it finds. */
#pragma once

#include "matcher.h"

typedef struct {
  /* Of an object that is looked at, in bytes; what is larger is skipped. */
  gsize max_size;
  /* How many containers inside of one another are opened; 0: none. */
  int max_depth;
  /* Also names what is clean. */
  gboolean verbose;
} ScanOptions;

typedef struct {
  guint64 directories;
  guint64 files;
  /* Files in containers. */
  guint64 members;
  guint64 infected;
  guint64 skipped;
  guint64 errors;
  guint64 bytes;
} ScanSummary;

typedef struct {
  GPtrArray *signatures;
  const Matcher *matcher;
  ScanOptions options;
  ScanSummary summary;
} Scanner;

/* A file, or a directory and all below it. Symbolic links are followed where they are named, not where they
 * are found. What cannot be read is told on standard error and counted. */
void scan_path(Scanner *scanner, const char *path);
