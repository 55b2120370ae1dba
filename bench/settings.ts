/** How a run is to be done; from the command line. */
export interface Settings {
  readonly rounds: number
  readonly seconds: number
  readonly connections: number
  /** For configurations, logs and sockets of this run; removed afterwards. */
  readonly directory: string
  /** Options for the Node of a measured part: profiling, where it was asked for. */
  readonly nodeOptions: (name: string) => readonly string[]
  /** Where the built program is, as users run it; built when it is first asked for. Profiles read better from source. */
  readonly builtProgram: () => string
  readonly progress: (text: string) => void
}
