/* What the client's files share. */
#pragma once

#include "c2c/directory_client.h"
#include "c2c/directory_health.h"
#include "c2c/directory_round.h"
#include "c2c/directory_told.h"

typedef struct DirectorySearch DirectorySearch;
void directory_search_free(DirectorySearch *search);

struct DirectoryClient {
  DirectoryCache *cache;
  DirectoryHealth *health;
  const IdentityKey *own;
  GPtrArray *places; /* of DirectoryPlace */
  GPtrArray *lanes;  /* of DirectoryLane, one for each */
  int timeout_ms;
  DirectoryAsker asker;    /* without a pass: each lane has its own */
  DirectorySearch *search; /* the last look-up, while somebody has yet to answer */
};

/* Keeps the pass that has come over the lane, if one has. A pass is good to have, and no more: where it
 * cannot be kept there is none. */
void directory_client_keep_pass(DirectoryClient *client, DirectoryLane *lane);
