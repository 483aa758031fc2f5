/* Looks for all the patterns of a data base at once. */
#pragma once

#include "signatures.h"

typedef struct Matcher Matcher;

/* For the patterns among the signatures, which have to outlive it. Fails where one cannot be looked for. */
Matcher *matcher_new(GPtrArray *signatures, GError **error);
void matcher_free(Matcher *matcher);

/* Sets found[i] for each signature i whose pattern is in the data. */
void matcher_scan(const Matcher *matcher, const guint8 *data, gsize size, gboolean *found);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Matcher, matcher_free)
