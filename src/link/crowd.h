/* A number of visitors of whom none may keep the others out: so many at most, and so many of each holder (an
 * address, a key). Where there are too many, who has most loses the oldest that can go. Nothing walks through
 * all of them. */
#pragma once

#include "link/callers.h"

typedef struct LinkCrowd LinkCrowd;

/* Within whatever it stands for. */
typedef struct {
  gpointer owner;
  gboolean busy; /* must not go now */
  LinkCallerSource holder;
  guint index; /* the crowd's business, like `link` */
  GList link;
} LinkVisitor;

LinkCrowd *link_crowd_new(guint most, guint most_each);
void link_crowd_free(LinkCrowd *crowd); /* visitors stay as they are */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LinkCrowd, link_crowd_free)

/* Whether another of `holder` may come, once *leaving (NULL: nobody), if there is one, has been removed. */
gboolean link_crowd_has_room(LinkCrowd *crowd, const LinkCallerSource *holder, LinkVisitor **leaving);

/* Takes a visitor as the newest of visitor->holder, whatever the limits; and lets it go. */
void link_crowd_add(LinkCrowd *crowd, LinkVisitor *visitor);
void link_crowd_remove(LinkCrowd *crowd, LinkVisitor *visitor);

/* Who should go first, or NULL: of a few that are picked at random, the oldest of the holder who has most.
 * Who has a large share is picked soon. */
LinkVisitor *link_crowd_surplus(LinkCrowd *crowd);

guint link_crowd_count(const LinkCrowd *crowd);
LinkVisitor *link_crowd_nth(const LinkCrowd *crowd, guint n); /* in no order */
