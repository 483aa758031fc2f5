/* The data base: what known viruses look like. README.md describes the file. */
#pragma once

#include <glib.h>

/* One byte of a pattern: it matches where (found & mask) == value. */
typedef struct {
  guint8 value;
  guint8 mask;
} PatternByte;

/* Bytes that follow one another without a gap. */
typedef struct {
  PatternByte *bytes;
  gsize length;
  /* How many bytes may lie between the run before and this one; 0 and 0 for the first. */
  gsize gap_min;
  gsize gap_max;
} PatternRun;

typedef struct {
  char *name;
  /* Either a pattern, */
  PatternRun *runs;
  gsize n_runs;
  /* or the SHA-256 of the whole object, in lower case. */
  char *sha256;
} Signature;

/* The widest gap that a pattern may have, in bytes. */
#define PATTERN_GAP_MAX 4096

/* Reads a data base. Returns its Signatures in the file's order; on error NULL, the error naming the line. */
GPtrArray *signatures_load(const char *path, GError **error);
