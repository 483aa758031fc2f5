/* Situations in words, for tables of tests. */
#pragma once

#include "replicator/policy.h"

#define SITUATION_NOW 1700000040 /* s since 1970; a whole minute */

/* A telephone on Wi-Fi, not metered, charging at 80 %, at 14:00, with 3 small files of 1.2 MB changed since
 * the generation of 5 hours ago; but for what the words say, each NAME=VALUE: link=mobile online=0 metered=1
 * battery=1 charging=0 level=12   (facts; -1: not known) entries=0 bytes=30M big=1 big-bytes=2G big-age=4d
 * age=2h failures=3 failed=5m time=23:30 running=1 */
void situation_set(PolicySituation *situation, const char *words);
