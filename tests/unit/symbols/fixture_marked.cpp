#include "fixture_marked.hpp"

namespace
{

int
hidden(int n)
{
  DOPPEL_OFFLOAD;
  return n - 7;
}

} // namespace

int
main(int argc, char **argv)
{
  marked::Shape shape(argc);
  auto lambda = [](int n) {
    DOPPEL_OFFLOAD;
    return n + 40;
  };
  double scaled = marked::scale(argc) + marked::scale(argc * 0.5);
  return (marked::shared(argc) + shape.area() + shape(2) + hidden(argc) + lambda(argc) + other_object(argc) +
          static_cast<int>(scaled)) &
         1;
}
