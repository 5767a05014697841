"""Ours beside what people use now, each in a process of its own, with what each promises."""
