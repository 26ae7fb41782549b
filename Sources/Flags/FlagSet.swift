/// Placeholder of the first build.
public enum FlagSet {}
