#include "fixture_marked.hpp"

int
other_object(int n)
{
  marked::Shape shape(n);
  return marked::scale(n) + marked::shared(n) + shape.area();
}
