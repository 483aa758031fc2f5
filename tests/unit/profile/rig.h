/* What the tests of profiles ask of a graph. */
#pragma once

#include "profile/graph.h"

/* The function of this name or of this offset ("0x1149"); NULL: none. Names are those of the tests' own. */
const ProfileFunction *rig_find(const ProfileGraph *graph, const char *name);

/* These numbers, or the test fails and says which function it is. */
void rig_expect(const ProfileGraph *graph, const char *name, guint64 self, guint64 calls, guint64 nested,
                guint64 inclusive);
void rig_expect_arc(const ProfileGraph *graph, const char *caller, const char *callee, guint64 calls,
                    guint64 nested, guint64 cost);

/* All of a graph as text, to compare. */
char *rig_text(const ProfileGraph *graph);
