// Calls C++ functions, and prints each call as a replay with --args shows it.
#include <cstdio>
#include <string>

#ifdef __clang__
#define WHOLE __attribute__((noinline, optnone))
#else
#define WHOLE __attribute__((noipa))
#endif

enum class Kind : unsigned char { first = 1, second = 200 };
struct Tag {};
struct Owner {
  std::string held;
  int value;
  Owner(const char *text, int value) : held(text), value(value) {}
  WHOLE int add(int more) const { return value + more; }
};

WHOLE long by_reference(const std::string &s, int n) { return (long)s.size() + n; }
WHOLE long by_value(std::string s, int n) { return (long)s.size() + n; }
WHOLE long moved(std::string &&s, std::string *p) { return (long)s.size() + (p != nullptr); }
WHOLE std::string made(int n, const char *t) { return std::string(t) + std::to_string(n); }
WHOLE const std::string &same(const std::string &s) { return s; }
WHOLE Kind kinds(Kind k, bool b) { return b ? Kind::second : k; }
WHOLE int owners(Owner o, int n, Tag, int m) { return o.value + n + m; }
WHOLE int may_throw(int n) {
  if (n > 1) throw n;
  return n;
}

int main() {
  std::string brief = "brief", lengthy(200, 'l'), some(40, 's'), zero("a\0b", 3);
  std::string cut = std::string(96, 'l');
  by_reference(brief, 1);
  by_reference(lengthy, 2);
  by_reference(zero, 3);
  by_reference("", 4);
  by_value(brief, 5);
  by_value(some, 6);
  moved(std::string("moved"), &brief);
#ifndef _LIBCPP_VERSION  // its strings are others, and LLVM's libunwind ends at a hooked return
  // What no std::string is: longer than memory.
  struct { const char *data; unsigned long size; char rest[16]; } none = {"none", 1ul << 50, {}};
  by_reference(*reinterpret_cast<std::string *>(&none), 7);
  printf("by_reference(s=?, n=7) = %ld\n", (1l << 50) + 7);
  may_throw(1);
  try { may_throw(2); } catch (int) {}
  printf("may_throw(n=1) = 1\nmay_throw(n=2)\n");
#endif
  made(42, "answer ");
  made(1, "an answer that is much longer than fits: ");
  same(some);
  kinds(Kind::first, false);
  kinds(Kind::first, true);
  Owner owner("held", 30);
  owner.add(12);
  owners(owner, 2, Tag(), 3);
  printf("by_reference(s=\"brief\", n=1) = 6\n");
  printf("by_reference(s=\"%s\"…, n=2) = 202\n", cut.c_str());
  printf("by_reference(s=\"a\\0b\", n=3) = 6\nby_reference(s=\"\", n=4) = 4\n");
  printf("by_value(s=\"brief\", n=5) = 10\nby_value(s=\"%s\", n=6) = 46\n", some.c_str());
  printf("moved(s=\"moved\", p=\"brief\") = 6\n");
  printf("made(n=42, t=\"answer \") = \"answer 42\"\n");
  printf("made(n=1, t=\"an answer that is much longer than fits: \") = "
         "\"an answer that is much longer than fits: 1\"\n");
  printf("same(s=\"%s\") = \"%s\"\n", some.c_str(), some.c_str());
  printf("kinds(k=first, b=false) = first\nkinds(k=first, b=true) = second\n");
  printf("Owner::add(this=%p, more=12) = 42\n", (void *)&owner);
  printf("owners(o={…}, n=2, {…}, m=3) = 35\n");
}
