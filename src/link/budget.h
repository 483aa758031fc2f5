/* How much each source of addresses may have done for it: a bucket of tokens each, that fills with time
 * (RFC 2697's idea). A source that has not come for so long that its bucket is full is forgotten. */
#pragma once

#include "link/callers.h"

typedef struct LinkBudget LinkBudget;

/* `rate` tokens a second, `burst` at once; rate 0: no limit. */
LinkBudget *link_budget_new(guint rate, guint burst);
void link_budget_free(LinkBudget *budget);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LinkBudget, link_budget_free)

/* Takes `price` tokens at the time `now` (CLOCK_MONOTONIC ns). FALSE where they are not there: none are. */
gboolean link_budget_take(LinkBudget *budget, const LinkCallerSource *source, guint price, gint64 now);

/* How many sources are remembered. */
guint link_budget_sources(const LinkBudget *budget);
