#include "c2c/directory_visit.h"

#include <string.h>

#include "base/clock.h"
#include "c2c/directory_message.h"

#define MEMBER_MOST  4       /* a connection of its own, and some that it has not noticed to be gone */
#define NO_PROBES_MS 3600000 /* who blocks between questions answers none; deadlines do instead */

LinkDoorRules
directory_visit_rules(void)
{
  LinkDoorRules rules = {.size = sizeof(DirectoryVisit), .member_most = MEMBER_MOST};
  rules.link = LINK_OPTIONS_DEFAULT;
  rules.link.keepalive_ms = NO_PROBES_MS;
  rules.link.compression = -1;
  rules.link.message_max = DIRECTORY_QUESTION_MAX;
  rules.link.inbox_max = 1;
  return rules;
}

gboolean
directory_visit_came(DirectoryVisit *visit, const DirectoryPasses *passes, const LinkPreamble *preamble,
                     LinkCallerSource *holder)
{
  G_STATIC_ASSERT(sizeof visit->pass.bytes == sizeof preamble->clone);
  visit->passes = passes;
  memcpy(visit->pass.bytes, preamble->clone, sizeof preamble->clone);
  *holder = directory_pass_holder(&visit->pass);
  return directory_pass_check(passes, &visit->pass, clock_unix_time());
}

gboolean
directory_visit_identify(DirectoryVisit *visit)
{
  return visit->base.crowd != LINK_DOOR_PASSING ||
         link_door_identify(&visit->base, directory_pass_is_of(&visit->pass, link_peer(visit->base.link)));
}

/* The first question is paid with the connection, up to the price of that. */
gboolean
directory_visit_pay(DirectoryVisit *visit, guint price)
{
  if (!visit->paid)
    price -= MIN(price, LINK_DOOR_PRICE);
  visit->paid = TRUE;
  return link_door_pay(&visit->base, price);
}

gboolean
directory_visit_tell_pass(DirectoryVisit *visit, DirectoryPass *pass)
{
  if (visit->base.crowd != LINK_DOOR_MEMBER || visit->told_pass)
    return FALSE;
  visit->told_pass = TRUE;
  *pass = directory_pass_make(visit->passes, link_peer(visit->base.link), clock_unix_time());
  return TRUE;
}
