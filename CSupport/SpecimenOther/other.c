void other_placeholder(void) {}
