/* What a value in doppel.conf may look like: one reader per kind of value. */
#pragma once

#include <glib.h>

typedef struct {
  int from, to; /* minutes of the day, local time; over midnight where to < from; equal: at any hour */
} PolicyHours;

#define POLICY_NICE_NEVER 20 /* beyond every nice level */

/* Patterns of names (fnmatch(3)), with semicolons between them, none of them empty; "": none. */
typedef struct {
  char text[512];
} PolicyNames;

typedef struct {
  const char *allowed; /* what it may be, for error messages and the manual: "it has to be ..." */
  gboolean (*read)(const char *text, gpointer value);
} PolicyValueKind;

extern const PolicyValueKind policy_value_boolean;     /* gboolean */
extern const PolicyValueKind policy_value_duration;    /* gint64: seconds */
extern const PolicyValueKind policy_value_size;        /* guint64: bytes; G_MAXUINT64: unlimited */
extern const PolicyValueKind policy_value_rate;        /* guint64: bytes a second; 0: unlimited */
extern const PolicyValueKind policy_value_percent;     /* int */
extern const PolicyValueKind policy_value_hours;       /* PolicyHours */
extern const PolicyValueKind policy_value_links;       /* guint: bits 1 << ConditionLink */
extern const PolicyValueKind policy_value_compression; /* int: zstd's level; 0: chosen by battery and link */
extern const PolicyValueKind policy_value_nice;        /* int; POLICY_NICE_NEVER: never */
extern const PolicyValueKind policy_value_names;       /* PolicyNames */

/* These set facts of a Conditions; "auto" sets none. */
extern const PolicyValueKind policy_value_link, policy_value_metered, policy_value_power, policy_value_level;
