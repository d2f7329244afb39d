VOCABULARY: tuple[str, ...] = ()
