/* A connection of a directory's (link/door.h): members are whose key is registered, and a pass
 * (directory_pass.h) is what they come with when they come again. */
#pragma once

#include "c2c/directory_pass.h"
#include "link/door.h"

typedef struct {
  LinkVisit base;                /* base.visitor.busy: a question is being answered */
  const DirectoryPasses *passes; /* the directory's */
  DirectoryPass pass;            /* that it came with */
  gboolean sending;              /* an answer is not taken yet */
  gboolean paid;                 /* it has asked: what it paid for coming in is used up */
  gboolean told_pass;            /* over this connection */
  guint proofs;                  /* of being a member that were looked at */
} DirectoryVisit;

/* How a directory's door is, but for its rate, its functions and their data. */
LinkDoorRules directory_visit_rules(void);

/* As LinkDoorRules.came; `passes` has to outlive the door. */
gboolean directory_visit_came(DirectoryVisit *visit, const DirectoryPasses *passes,
                              const LinkPreamble *preamble, LinkCallerSource *holder);

/* Before the first question is looked at: who came with a pass is a member now, where it is theirs. FALSE:
 * has to go. */
gboolean directory_visit_identify(DirectoryVisit *visit);

/* Whether it may ask something of that price now. */
gboolean directory_visit_pay(DirectoryVisit *visit, guint price);

/* A member's pass, once over each connection. */
gboolean directory_visit_tell_pass(DirectoryVisit *visit, DirectoryPass *pass);
