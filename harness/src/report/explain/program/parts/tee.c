/* tee(2) has put so many bytes of a pipe into another one, too. */
static void put_again(struct parts *to, struct parts *from, ssize_t len)
{
	for (int i = from->first; len > 0; i++) {
		struct part *part = &from->of[i];
		long some = len < part->len ? len : part->len;

		put(to, part->offset, some, part->copy);
		len -= some;
	}
}
